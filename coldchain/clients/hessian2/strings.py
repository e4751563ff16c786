"""Hessian's strings: their length counts UTF-16 units, and a character beyond 16 bits is two surrogates of three bytes
each, as Java writes them. Such a character in UTF-8's own four bytes, which others write, is read as well."""

import re

from coldchain.clients.hessian2.values import HessianError

_WIDE = re.compile("[\U00010000-\U0010ffff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_FOUR_BYTES = bytes(range(0xF0, 0xF8))


def units(text: str) -> str:
    """The text with each character beyond 16 bits as its two surrogates: one character for one unit."""
    return _WIDE.sub(_split, text) if _WIDE.search(text) else text


def _split(found: re.Match[str]) -> str:
    beyond = ord(found[0]) - 0x10000
    return chr(0xD800 + (beyond >> 10)) + chr(0xDC00 + (beyond & 0x3FF))


def whole(text: str) -> str:
    """The other way round; a surrogate that stands alone stays."""
    return text if text.isascii() or not _PAIR.search(text) else _PAIR.sub(_join, text)


def _join(found: re.Match[str]) -> str:
    pair = found[0]
    return chr(0x10000 + (ord(pair[0]) - 0xD800 << 10) + ord(pair[1]) - 0xDC00)


def read_text(data: bytes, position: int, length: int) -> tuple[str, int]:
    """So many units of UTF-8 from there, and the position behind. Raises HessianError."""
    end = position + length
    piece = data[position:end]
    if piece.isascii():
        if end > len(data):
            raise HessianError(position, f"{length} units of a string", f"{len(data) - position} bytes")
        return piece.decode(), end
    # No unit has more than three bytes: decode so many, keep as many characters as there are units, and see whether
    # it is those that stand there. It is not where surrogates, four bytes or damage are among them.
    text = data[position : position + 3 * length].decode("utf-8", "ignore")[:length]
    piece = text.encode()
    end = position + len(piece)
    if (
        len(text) == length
        and data.startswith(piece, position)
        and len(piece.translate(None, _FOUR_BYTES)) == len(piece)
    ):
        return text, end
    return _read_any_text(data, position, length)


def _read_any_text(data: bytes, position: int, length: int) -> tuple[str, int]:
    end = _end(data, position, length)
    if end > len(data):
        raise HessianError(position, f"{length} units of a string", f"{len(data) - position} bytes")
    piece = data[position:end]
    try:
        return whole(piece.decode("utf-8", "surrogatepass")), end
    except UnicodeDecodeError as error:
        raise HessianError(position + error.start, "UTF-8", f"the byte {piece[error.start]:#04x}") from None


def _end(data: bytes, position: int, length: int) -> int:
    """Where so many units end: a unit has at least a byte, so each step goes that far and counts what it passed."""
    end = position
    left = length
    while left > 0:
        piece = data[end : end + left]
        if not piece:
            raise HessianError(position, f"{length} units of a string", f"{length - left}")
        end += len(piece)
        begins = piece.translate(None, _CONTINUATIONS)
        left -= 2 * len(begins) - len(begins.translate(None, _FOUR_BYTES))
    if left < 0:
        raise HessianError(position, f"{length} units of a string", "its end within a character")
    last = end - 1
    while last > position and 0x80 <= data[last] < 0xC0:
        last -= 1
    return last + _width(data[last])


def _width(first: int) -> int:
    """Of a character that begins with this byte. What follows may look like a part of it: a small int does."""
    if first < 0xC0:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4
