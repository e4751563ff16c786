"""Reads a plain object as a noun by the noun's own fields, and finds everything that does not fit, not only the first.

Where a part does not fit its default stands in, so that the rules across fields can still look at all the rest.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from msgspec import inspect

from coldchain.documents.findings import Findings, Path, closest, shown
from coldchain.model.base import Noun

MEMBERS_MAX = 10_000
NounType = TypeVar("NounType", bound=Noun)


def read(noun: type[NounType], document: object, findings: Findings, explained: Mapping[str, str]) -> NounType | None:
    """The noun as far as it could be read, with what is wrong in `findings`; None where nothing stands.

    `explained`: why some fields, known elsewhere, are unknown here; `a.b` is field b in the object, or each object of
    the array, a. Raises `TooMany`.
    """
    value = _Reader(findings, explained).read(_type_of(noun), document, ())
    return value if isinstance(value, noun) else None


@cache
def _type_of(noun: type[Noun]) -> inspect.Type:
    return inspect.type_info(noun)


_UNREADABLE: Any = object()


class _Reader:
    def __init__(self, findings: Findings, explained: Mapping[str, str]) -> None:
        self._findings = findings
        self._explained = explained

    def read(self, kind: inspect.Type, value: object, path: Path) -> Any:
        """The value, or `_UNREADABLE` after it was reported."""
        if isinstance(kind, inspect.UnionType):
            return self._optional(kind, value, path)
        if isinstance(kind, inspect.StructType):
            return self._struct(kind, value, path)
        if isinstance(kind, inspect.VarTupleType):
            return self._array(kind, value, path)
        if isinstance(kind, inspect.DictType):
            return self._map(kind, value, path)
        if isinstance(kind, inspect.LiteralType):
            return self._literal(kind, value, path)
        if isinstance(kind, inspect.StrType):
            return self._text(kind, value, path)
        if isinstance(kind, inspect.BoolType):
            return value if isinstance(value, bool) else self._wrong(path, "true or false", value)
        assert isinstance(kind, inspect.IntType | inspect.FloatType), f"no way to read {kind} at {path}"
        return self._number(kind, value, path)

    def _wrong(self, path: Path, wanted: str, value: object) -> Any:
        return self._unfit(path, f"must be {wanted}, not {_kind_of(value)}")

    def _unfit(self, path: Path, reason: str, suggestion: str | None = None) -> Any:
        self._findings.report(path, reason, suggestion)
        return _UNREADABLE

    def _optional(self, kind: inspect.UnionType, value: object, path: Path) -> Any:
        """Nothing, or one of a few words, or what is no text; not all of these."""
        if value is None:
            return None
        members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        words = [member for member in members if isinstance(member, inspect.LiteralType)]
        others = [member for member in members if member not in words]
        (chosen,) = words if words and (isinstance(value, str) or not others) else others
        return self.read(chosen, value, path)

    def _struct(self, kind: inspect.StructType, value: object, path: Path) -> Any:
        if not isinstance(value, dict):
            return self._wrong(path, "an object", value)
        fields = {field.encode_name: field for field in kind.fields}
        for name in value:
            if not isinstance(name, str):
                self._unfit(path, f"the name of a field must be text, not {_kind_of(name)}")
            elif name not in fields:
                self._unknown(name, value[name], fields, path)
        members = {}
        for name, field in fields.items():
            given = value.get(name)
            if given is None:  # Marathon's clients send null for what they do not set.
                if not field.required:
                    continue
                member = self._unfit((*path, name), "is missing")
            else:
                member = self.read(field.type, given, (*path, name))
            if member is not _UNREADABLE:
                members[field.name] = member
            elif field.required:
                stand_in = _stand_in(field.type)
                if stand_in is _UNREADABLE:
                    return _UNREADABLE
                members[field.name] = stand_in
        return kind.cls(**members)

    def _unknown(self, name: str, value: object, fields: Mapping[str, inspect.Field], path: Path) -> None:
        """One that is null says nothing, nor does one that is known elsewhere and empty: clients write all."""
        where = ".".join(str(part) for part in (*path, name) if not isinstance(part, int))
        why = self._explained.get(where)
        if value is None or (why is not None and value in ("", [], {})):
            return
        self._unfit((*path, name), why or "is not a field of this object", None if why else closest(name, fields))

    def _array(self, kind: inspect.VarTupleType, value: object, path: Path) -> Any:
        if not isinstance(value, list | tuple):
            return self._wrong(path, "an array", value)
        least, most = kind.min_length or 0, min(kind.max_length or MEMBERS_MAX, MEMBERS_MAX)
        if not least <= len(value) <= most:
            return self._unfit(path, f"must have {least} to {most} members, not {len(value)}")
        members = []
        for position, given in enumerate(value):
            member = self.read(kind.item_type, given, (*path, position))
            members.append(_stand_in(kind.item_type) if member is _UNREADABLE else member)
        return _UNREADABLE if any(member is _UNREADABLE for member in members) else tuple(members)

    def _map(self, kind: inspect.DictType, value: object, path: Path) -> Any:
        if not isinstance(value, dict):
            return self._wrong(path, "an object", value)
        if len(value) > MEMBERS_MAX:
            return self._unfit(path, f"must have at most {MEMBERS_MAX} members, not {len(value)}")
        members = {}
        for name, given in value.items():
            inside = (*path, name if isinstance(name, str) else str(name))
            if self.read(kind.key_type, name, inside) is not _UNREADABLE:
                member = self.read(kind.value_type, given, inside)
                if member is not _UNREADABLE:
                    members[name] = member
        return members

    def _literal(self, kind: inspect.LiteralType, value: object, path: Path) -> Any:
        if isinstance(value, str) and value in kind.values:
            return value
        choices = [str(choice) for choice in kind.values]
        wanted = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        if not isinstance(value, str):
            return self._wrong(path, wanted, value)
        return self._unfit(path, f"must be {wanted}, not {shown(value)}", closest(value, choices, likeness=0.5))

    def _text(self, kind: inspect.StrType, value: object, path: Path) -> Any:
        if not isinstance(value, str):
            quotes = " (put it in quotes)" if isinstance(value, bool | int | float) else ""
            return self._unfit(path, f"must be text, not {_kind_of(value)}{quotes}")
        least, most = kind.min_length or 0, kind.max_length
        if len(value) < least:
            return self._unfit(path, "must not be empty")
        if most is not None and len(value) > most:
            return self._unfit(path, f"must have at most {most} characters, not {len(value)}")
        if "\0" in value:
            return self._unfit(path, "must not contain the character NUL")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return self._unfit(path, "contains half of a character (an unpaired surrogate)")
        return value

    def _number(self, kind: inspect.IntType | inspect.FloatType, value: object, path: Path) -> Any:
        whole = isinstance(kind, inspect.IntType)
        wanted = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._wrong(path, wanted, value)
        if isinstance(value, float) and (not math.isfinite(value) or (whole and not value.is_integer())):
            return self._unfit(path, f"must be {wanted}, not {value}")
        if not _in_range(kind, value):
            return self._unfit(path, f"must be {_range(kind)}")
        return int(value) if whole else float(value)


def _stand_in(kind: inspect.Type) -> Any:
    """What stands for an unreadable value that has no default, so that the rest around it can be looked at."""
    if isinstance(kind, inspect.StrType):
        return ""
    return () if isinstance(kind, inspect.VarTupleType) else _UNREADABLE


def _in_range(kind: inspect.IntType | inspect.FloatType, value: float) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
        and (kind.le is not None or kind.lt is not None or abs(value) < 2**53)
    )


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = ((kind.ge, "at least"), (kind.gt, "above"), (kind.le, "at most"), (kind.lt, "below"))
    return " and ".join(f"{word} {bound}" for bound, word in bounds if bound is not None) or "a smaller number"


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
