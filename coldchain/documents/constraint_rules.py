"""constraint_rules: what is wrong with the constraints of a definition, element by element."""

import re
import warnings
from collections.abc import Iterator

from coldchain.decisions.constraint import OPERATORS
from coldchain.documents.findings import Finding, Path, closest, shown
from coldchain.model.app import App

KNOWN = ("@hostname", "@region", "@zone")
NUMBER = re.compile(r"[1-9][0-9]{0,5}")
COMPARED = re.compile(r"[a-zA-Z0-9_/.-]+")
WHAT_VALUES = {
    "MAX_PER": 'how many instances there may be for each value of the field, such as "2"',
    "LIKE": 'the regular expression that the whole value must match, such as "rack-[1-3]"',
    "UNLIKE": 'the regular expression that the value must not match as a whole, such as "rack-[1-3]"',
    "IS": "the text or number that the value must be",
}
REPETITIONS_MAX = 5


def constraint_findings(app: App) -> Iterator[Finding]:
    """Of constraints whose operators are in capitals, with no value rather than an empty one."""
    for position, constraint in enumerate(app.constraints):
        where: Path = ("constraints", position)
        if not constraint:
            continue  # it could not be read, which was said
        field, operator = constraint[:2]
        if not field:
            yield Finding(
                (*where, 0), "must name what is compared: hostname, @region, @zone or an attribute of the agents"
            )
        elif field.startswith("@") and field not in KNOWN:
            yield Finding((*where, 0), f"{shown(field)} is none of @hostname, @region and @zone", closest(field, KNOWN))
        if operator not in OPERATORS:
            reason = f"{shown(operator)} is no operator: it must be one of {', '.join(OPERATORS)}"
            yield Finding((*where, 1), reason, closest(operator, OPERATORS, likeness=0.5))
        else:
            yield from _value(operator, constraint[2] if len(constraint) > 2 else None, where)


def _value(operator: str, value: str | None, where: Path) -> Iterator[Finding]:
    path = (*where, 2)
    if value is None:
        if operator in WHAT_VALUES:
            yield Finding(where, f"{operator} needs a third element: {WHAT_VALUES[operator]}")
    elif operator == "UNIQUE":
        yield Finding(path, "UNIQUE takes no value: leave it out")
    elif operator in ("MAX_PER", "GROUP_BY"):
        if not NUMBER.fullmatch(value):
            yield Finding(path, f"{operator} needs a whole number from 1 on, as text, not {shown(value)}")
    elif operator in ("LIKE", "UNLIKE"):
        yield from _expression(value, path)
    elif operator == "IS" and not COMPARED.fullmatch(value):
        yield Finding(path, f"IS compares with text of letters, digits and `_/.-`, or a number, not {shown(value)}")


def _expression(value: str, path: Path) -> Iterator[Finding]:
    """A regular expression is compared within the controller's loop: one that takes for ever would stop it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            re.compile(value, re.ASCII)
    except (re.error, ValueError, FutureWarning, OverflowError, RecursionError) as error:
        yield Finding(path, f"{shown(value)} is no regular expression: {error}")
        return
    if _takes_long(value):
        reason = (
            "may take too long to compare: repeat no group that repeats something itself or has alternatives"
            f" (write [ab]* for (a|b)*), and use at most {REPETITIONS_MAX} repetitions between two |"
        )
        yield Finding(path, reason)


def _takes_long(expression: str) -> bool:
    """True when a repetition is inside of a repeated group, or too many follow one another."""
    plain = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", expression)  # without escapes and sets of characters
    plain = re.sub(r"\(\?(?:P?<\w+>|[:=!aiLmsux-]+:?|<[=!])", "(", plain)  # nor the kinds of groups
    inner = [False]
    repetitions = 0
    for character, following in zip(plain, [*plain[1:], ""], strict=True):
        if character == "(":
            inner.append(False)
        elif character == ")" and len(inner) > 1:
            repeats = inner.pop()
            if repeats and following and following in "*+{":
                return True
            inner[-1] = inner[-1] or repeats
        elif character == "|":
            inner[-1] = inner[-1] or len(inner) > 1
            repetitions = repetitions if len(inner) > 1 else 0
        elif character in "*+{?":
            inner[-1] = True
            repetitions += character != "?"
        if repetitions > REPETITIONS_MAX:
            return True
    return False
