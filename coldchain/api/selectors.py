"""selectors: which apps a query asks for: parts of id and command, and Marathon's label selectors."""

import re
from collections.abc import Callable

from coldchain.model.app import App
from coldchain.model.errors import MalformedDocument

Matcher = Callable[[App], bool]

_VALUE = r"[^\s,()=!]+"
_TERM = re.compile(
    rf"\s*(?P<name>{_VALUE})\s*(?:"
    rf"(?P<comparison>==|!=)\s*(?P<value>{_VALUE})"
    rf"|\s(?P<set>in|notin)\s*\(\s*(?P<values>{_VALUE}(?:\s*,\s*{_VALUE})*)\s*\)"
    r")?\s*(?:,|$)"
)


def label_selector(selector: str) -> Matcher:
    """`name`, `name==value`, `name!=value`, `name in (a, b)`, `name notin (a, b)`, joined by commas, which mean "and".

    As in Marathon an app without the label matches `!=` and `notin`. Raises MalformedDocument.
    """
    terms: list[Matcher] = []
    position = 0
    while position < len(selector) or not terms:
        found = _TERM.match(selector, position)
        if found is None:
            raise MalformedDocument(
                f"the label selector cannot be read from {selector[position : position + 40]!r}",
                todo="Write terms such as `tier==web, zone in (a, b)`",
            )
        terms.append(_term(found))
        position = found.end()
    return lambda app: all(term(app) for term in terms)


def _term(found: re.Match[str]) -> Matcher:
    name, values = found["name"], re.findall(_VALUE, found["values"] or found["value"] or "")
    match found["comparison"] or found["set"]:
        case "==" | "in":
            return lambda app: app.labels.get(name) in values
        case "!=" | "notin":
            return lambda app: app.labels.get(name) not in values
        case _:
            return lambda app: name in app.labels


def app_selector(app_id: str | None, cmd: str | None, label: str | None) -> Matcher:
    """All that are given must hold; id and command by a part of them."""
    labelled = label_selector(label) if label else None

    def matches(app: App) -> bool:
        if app_id is not None and app_id not in app.id:
            return False
        if cmd is not None and cmd not in (app.cmd or ""):
            return False
        return labelled is None or labelled(app)

    return matches
