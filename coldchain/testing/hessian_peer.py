"""hessian.js, another implementation of Hessian 2, in one process of Node.js that answers what it makes of values and
bytes. Values go to it and come back described: as JSON that tells lists, maps and objects from one another, and shows
which are the same one."""

import json
import subprocess
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from coldchain.clients.hessian2 import JavaObject, Key, Long, TypedList, TypedMap
from coldchain.testing import node
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT

_SCRIPT = Path(__file__).with_suffix(".js")
_SAFE_MAX = 2**53 - 1
"""A long beyond it is a string in JavaScript."""


class HessianPeer:
    """It dies with the process that started it."""

    def __enter__(self) -> Self:
        command = [*DIES_WITH_ITS_PARENT, str(node.node()), str(_SCRIPT)]
        self._process = subprocess.Popen(
            command, env=node.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def encode(self, value: object) -> bytes:
        """The bytes that hessian.js writes for it."""
        return bytes.fromhex(self._ask({"ask": "encode", "value": described(value)}))

    def decode(self, content: bytes) -> Any:
        """What hessian.js reads from these bytes, described as `heard` does."""
        return self._ask({"ask": "decode", "bytes": content.hex()})

    def catch(self, content: bytes) -> Any:
        """As `decode`, in the other way of hessian.js, which knows no types but exceptions."""
        return self._ask({"ask": "catch", "bytes": content.hex()})

    def encodes_per_second(self, value: object, seconds: float) -> float:
        return self._rate({"ask": "time encode", "value": described(value), "seconds": seconds})

    def decodes_per_second(self, content: bytes, seconds: float) -> float:
        return self._rate({"ask": "time decode", "bytes": content.hex(), "seconds": seconds})

    def _rate(self, request: dict[str, object]) -> float:
        measured = self._ask(request)
        return float(measured["count"] / measured["seconds"])

    def _ask(self, request: dict[str, object]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        # All its numbers are doubles, also those that JSON writes without a point.
        reply = json.loads(self._process.stdout.readline(), parse_int=float)
        if "error" in reply:
            raise AssertionError(f"hessian.js: {reply['error']}")
        return reply["answer"]


def described(value: object) -> Any:
    """As lists that begin with the kind; a list, map or object that comes again is a reference to the first."""
    return _Description(_number).of(value)


def heard(value: object) -> Any:
    """As `described`, less what JavaScript loses: which number it is, and whether a large long is a string."""
    return _Description(_number_heard).of(value)


def _number(value: float) -> Any:
    if isinstance(value, float):
        return ["double", value if value - value == 0 else _INFINITE.get(value, "NaN")]
    fits = not isinstance(value, Long) and -(2**31) <= value < 2**31
    return ["int", value] if fits else ["long", str(value)]


def _number_heard(value: float) -> Any:
    if isinstance(value, float):
        return ["number", _number(value)[1]]
    return ["number", float(value)] if abs(value) <= _SAFE_MAX else str(value)


class _Description:
    def __init__(self, number: Callable[[float], Any]) -> None:
        self._number = number
        self._seen: dict[int, int] = {}

    def of(self, value: object) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, bytes):
            return ["bytes", value.hex()]
        if isinstance(value, datetime):
            return ["date", (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)]
        if isinstance(value, Key):
            return self.of(value.value)
        if id(value) in self._seen:
            return ["reference", self._seen[id(value)]]
        self._seen[id(value)] = len(self._seen)
        return self._of_many(value)

    def _of_many(self, value: object) -> Any:
        match value:
            case list() | tuple():
                return ["list", [self.of(item) for item in value]]
            case dict():
                return ["map", self._pairs(value.items())]
            case TypedList():
                return ["typed list", value.type, [self.of(item) for item in value.items]]
            case TypedMap():
                return ["typed map", value.type, self._pairs(value.entries.items())]
            case JavaObject():
                return ["object", value.type, self._pairs(value.fields.items())]
        raise TypeError(f"no value of Hessian's: {value!r}")

    def _pairs(self, pairs: Iterable[tuple[object, object]]) -> Any:
        return [[self.of(key), self.of(item)] for key, item in pairs]


_INFINITE = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
