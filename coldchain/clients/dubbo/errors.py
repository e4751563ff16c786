"""What a call can end with instead of a value. `heard`: the provider may have carried it out all the same."""

from collections.abc import Sequence
from typing import NamedTuple


class StackElement(NamedTuple):
    """Of a stack of Java's. `line` -1: not known; -2: a native method."""

    kind: str
    method: str
    file: str = ""
    line: int = -1

    def __str__(self) -> str:
        where = "Native Method" if self.line == -2 else self.file or "Unknown Source"
        return f"{self.kind}.{self.method}({where}{f':{self.line}' if self.line >= 0 else ''})"


class DubboError(Exception):
    """A call gave no value."""

    def __init__(self, message: str, *, heard: bool) -> None:
        super().__init__(message)
        self.message = message
        self.heard = heard


class Unreachable(DubboError):  # noqa: N818 -- the field's word
    """There is no connection that a new call may be sent over: nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, heard=False)


class ConnectionLost(DubboError):  # noqa: N818
    """The connection ended before the answer came."""

    def __init__(self, message: str) -> None:
        super().__init__(message, heard=True)


class Timeout(DubboError):  # noqa: N818
    """No answer in time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, heard=True)


class TooLarge(DubboError):  # noqa: N818
    """The call, or its answer, has more bytes than a frame may have."""


class Refused(DubboError):  # noqa: N818
    """The provider's framework answered with a status instead of a result, and in its own words."""

    def __init__(self, status: int, message: str, *, heard: bool) -> None:
        super().__init__(message, heard=heard)
        self.status = status


class Unreadable(DubboError):  # noqa: N818
    """The bytes of the answer are no result, or those of a call no call."""


class RemoteException(DubboError):  # noqa: N818 -- Java's word
    """What the method raised: Java's class, its message and its stack, and what caused it."""

    def __init__(
        self, kind: str, words: str = "", *, stack: Sequence[StackElement] = (), cause: "RemoteException | None" = None
    ) -> None:
        super().__init__(f"{kind}: {words}" if words else kind, heard=True)
        self.kind = kind
        self.words = words
        self.stack = tuple(stack)
        self.cause = cause


class DamagedFrame(Exception):  # noqa: N818
    """What came is no frame of Dubbo's: where one ends and the next begins is not known any more."""
