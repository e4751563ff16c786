"""audit: who did what, when and from where, with what it changed; what looks like a secret is not in it."""

import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from coldchain.documents.answers import timestamp, usual_definition
from coldchain.documents.application import encode_app
from coldchain.documents.difference import Difference, difference
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.caller import Role
from coldchain.model.secret import MASK

CHANGE_BYTES_MAX = 4096
"""Of the differences of one app: the definitions themselves are on record as versions."""
ENTRY_BYTES_MAX = 4 * CHANGE_BYTES_MAX
"""Of those of all apps that one request changed: a group may have thousands."""

_TELLING = re.compile(r"pass(word|wd|phrase)?|secret|token|credential|api[_-]?key|private[_-]?key|_key$|auth", re.I)
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)=(?P<value>[^\s&]+)")
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class AuditChange(Noun, frozen=True, kw_only=True):
    """What happened to one thing: differences of an app's definition; of a secret or a token only that it changed."""

    kind: Literal["app", "secret", "token"]
    name: str
    change: Literal["added", "changed", "removed"]
    differences: tuple[Difference, ...] = ()
    more: int = 0


class AuditEntry(Noun, frozen=True, kw_only=True):
    """One request that changed something, or tried to. `at` in seconds since the epoch, `address`: where it came from,
    empty for the socket in the data folder. `apps`: the apps and groups that it was about. Of who did not say who he
    is, `caller` is empty and `role` None."""

    id: int
    at: float
    caller: str
    role: Role | None
    address: str
    method: str
    path: str
    status: int
    apps: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    changes: tuple[AuditChange, ...] = ()


def app_change(
    name: str, before: App | None, after: App | None, bytes_max: int = CHANGE_BYTES_MAX
) -> tuple[AuditChange, int]:
    """From one definition to another, as documents have them; None: there was none, or is none any more. Of a new app
    defaults are left out. With it the bytes that its differences take, at most `bytes_max`."""
    if after is None:
        return AuditChange(kind="app", name=name, change="removed"), 0
    old, new = {} if before is None else encode_app(before), encode_app(after)
    if before is None:
        usual = usual_definition()
        new = {field: value for field, value in new.items() if value != usual.get(field)}
    found = [_masked(one) for one in difference(old, new)]
    kept, taken = [], 0
    for one in found:
        size = len(msgspec.json.encode(one))
        if taken + size > bytes_max:
            break
        kept.append(one)
        taken += size
    change: Literal["added", "changed"] = "added" if before is None else "changed"
    made = AuditChange(kind="app", name=name, change=change, differences=tuple(kept), more=len(found) - len(kept))
    return made, taken


def audit_answer(entry: AuditEntry) -> dict[str, Any]:
    """As the API shows it."""
    shown: dict[str, Any] = msgspec.to_builtins(entry)
    return shown | {"at": timestamp(entry.at)}


def _masked(one: Difference) -> Difference:
    names = one.path.split("/")
    return msgspec.structs.replace(one, old=_without(one.old, names), new=_without(one.new, names))


def _without(value: Any, names: Iterable[str]) -> Any:
    """The value without what looks like a secret: by the name of its variable or label, `NAME=VALUE`, a password in an
    address."""
    if isinstance(value, dict):
        return {name: _without(member, (*names, name)) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_without(member, names) for member in value]
    if not isinstance(value, str):
        return value
    place = tuple(names)
    if "env" in place or "labels" in place:
        last = place[-1].replace("~1", "/").replace("~0", "~")
        if _TELLING.search(last):
            return MASK
    return _USER.sub(MASK, _ASSIGNED.sub(_assigned, value))


def _assigned(found: re.Match[str]) -> str:
    return f"{found['name']}={MASK}" if _TELLING.search(found["name"]) else found[0]
