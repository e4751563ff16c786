"""The rules of routes: what a domain, a path, a regular expression and a header may be."""

import re
from collections.abc import Iterator

from coldchain.decisions.route import Place, places
from coldchain.decisions.route import shown as shown_place
from coldchain.documents.findings import Finding, Path, shown
from coldchain.model.app import App, Route

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]*")
METHOD = re.compile(r"[A-Z]{1,32}")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
HEADER_VALUE = re.compile(r"[!-~]([ -~]{0,1022}[!-~])?")
HEADERS_OF_CONNECTION = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""They are about one connection or frame the request: by them a request could be one thing here and another there."""
PATTERN_CHARACTERS_MAX = 512
ESCAPES = frozenset("dDwWsSbB")
"""Letters that mean the same after a backslash to Python and to the gateway's PCRE."""


def route_findings(app: App) -> Iterator[Finding]:
    """Everything wrong with the routes but their ports."""
    first: dict[Place, Path] = {}
    for position, route in enumerate(app.routes):
        where: Path = ("routes", position)
        if route.path_kind == "regex":
            yield from _pattern(route.path, (*where, "path"))
        else:
            yield from _path(route.path, (*where, "path"))
        for number, method in enumerate(route.methods):
            if not METHOD.fullmatch(method):
                yield Finding((*where, "methods", number), f"{shown(method)} is no method: capitals, 32 at most")
        yield from _headers(route, (*where, "headers"))
        for number, (domain, place) in enumerate(zip(route.domains, places(route), strict=True)):
            here = (*where, "domains", number)
            yield from _domain(domain, here)
            before = first.setdefault(place, here)
            if before != here:
                yield Finding(here, f"{shown_place(place)} is routed twice", needs=(before,))


def _path(path: str, where: Path) -> Iterator[Finding]:
    if not PATH.fullmatch(path):
        yield Finding(
            where,
            "must begin with `/` and be made of letters, digits and -._~!$&'()*+,;=:@/: a prefix of decoded paths,"
            " without query, percent signs and control characters",
        )
    elif {"..", "."} & set(path.split("/")) or "//" in path:
        yield Finding(where, "must not contain `..`, `.` or empty parts: no request that gets here has them")


def _pattern(pattern: str, where: Path) -> Iterator[Finding]:
    """Only what Python, by which it is checked, and PCRE, by which the gateway matches, understand in one way."""
    if not re.fullmatch(r"[ -~]+", pattern):
        yield Finding(where, "a regular expression of visible ASCII characters, for the whole decoded path")
    elif len(pattern) > PATTERN_CHARACTERS_MAX:
        yield Finding(where, f"a regular expression has at most {PATTERN_CHARACTERS_MAX} characters")
    elif strange := _strange(pattern):
        reason = (
            f"{strange} is not understood here: use classes, groups `(…)` and `(?:…)`, `|`, repetitions and anchors"
        )
        yield Finding(where, reason)
    else:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield Finding(where, f"is no regular expression: {error}")


def _strange(pattern: str) -> str:
    """The first construct that the two may understand differently; empty for none."""
    for found in re.finditer(r"\\(.)|\(\?(?!:)|\[\[|\[:|\[\^?\]|[*+?}]\+|\{,", pattern):
        if not found[1]:
            return f"`{found[0]}`"
        if found[1].isalnum() and found[1] not in ESCAPES:
            return f"`{found[0]}`"
    return ""


def _headers(route: Route, where: Path) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, value in route.headers.items():
        if not HEADER.fullmatch(name):
            yield Finding((*where, name), "a header's name is made of letters, digits and `-`, beginning with a letter")
        elif name.lower() in HEADERS_OF_CONNECTION:
            yield Finding(
                (*where, name), "requests are not chosen by headers of the connection; for hosts see `domains`"
            )
        elif seen.setdefault(name.lower(), name) != name:
            yield Finding((*where, name), f"is named twice, also as {seen[name.lower()]}: capitals do not matter")
        if not HEADER_VALUE.fullmatch(value):
            yield Finding((*where, name), "a value of visible ASCII characters, or `*` for any")


def _domain(domain: str, where: Path) -> Iterator[Finding]:
    if domain == "*":
        return
    labels = domain.removeprefix("*.").split(".")
    if len(domain) <= 253 and all(LABEL.fullmatch(label) for label in labels):
        return
    if "*" in domain:
        reason = "`*` alone stands for every other domain, `*.` at the beginning for all below one"
    elif not domain.isascii():
        reason = "write it as browsers send it (xn--…)"
    elif ":" in domain or "/" in domain:
        reason = "a domain has no scheme, port or path"
    else:
        reason = "labels of letters, digits and `-`, 63 at most in each, separated by dots"
    yield Finding(where, f"{shown(domain)} is no host name: {reason}")
