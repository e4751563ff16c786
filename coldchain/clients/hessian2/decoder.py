"""Bytes to values.

Whatever comes gives values or HessianError: a length is held against the bytes that are left before anything is made
of it, and nesting, values and classes have limits.
"""

import struct

from coldchain.clients.hessian2.composites import READERS
from coldchain.clients.hessian2.message import Limits, Message
from coldchain.clients.hessian2.values import HessianError


class Decoder:
    """The values of one message, one after the other; its references and classes are known to all of them."""

    __slots__ = ("_message", "_position")

    def __init__(self, data: bytes | memoryview, *, limits: Limits = Limits()) -> None:  # noqa: B008 - it is frozen
        self._message = Message(data if type(data) is bytes else bytes(data), limits)
        self._position = 0

    @property
    def position(self) -> int:
        """Of the byte that the next value begins with."""
        return self._position

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._message.data)

    def read(self) -> object:
        """The next value. Raises HessianError; then it has no other."""
        message = self._message
        message.depth = 0
        try:
            value, self._position = READERS[message.data[self._position]](message, self._position)
        except (IndexError, struct.error):
            raise HessianError(len(message.data), "more bytes", "the end") from None
        except RecursionError:
            raise HessianError(self._position, "a value that is less nested", "the end of Python's stack") from None
        return value


def decode(data: bytes | memoryview, *, limits: Limits = Limits()) -> list[object]:  # noqa: B008 - it is frozen
    """All values of a message. Raises HessianError."""
    decoder = Decoder(data, limits=limits)
    values = []
    while not decoder.at_end:
        values.append(decoder.read())
    return values
