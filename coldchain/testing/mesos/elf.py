"""Makes libmesos loadable beside a newer OpenSSL and libcurl: an edit of its dynamic section, in place.

The library was linked against OpenSSL 1.0 and against a libcurl whose symbols had another version. Three things change:
it needs libz once more instead of libssl and libcrypto (a repeated need is harmless); the versions it required of the
three are forgotten; its symbols of OpenSSL become weak, so that those bound at once may be absent.
"""

import struct
from collections.abc import Iterator

from coldchain.model.errors import Rejected

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_SYMTAB = 1, 5, 6
_DT_GNU_HASH, _DT_VERSYM, _DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFE, 0x6FFFFFFF
_SYMBOL_BYTES = 24
_GLOBAL_VERSION = 1
_WEAK = 2

_STANDS_IN = "libz.so.1"
_GONE = ("libssl.so.1.0.0", "libcrypto.so.1.0.0")
_OTHER_VERSION = "libcurl.so.4"


class _Image:
    """The parts of a 64-bit shared object that are looked at. Addresses are those the loader would use."""

    def __init__(self, content: bytearray) -> None:
        self.content = content
        if content[:5] != b"\x7fELF\x02":
            raise Rejected("This is no 64-bit ELF file", todo="Remove what lies in .build and run bin/setup")
        (headers,) = self.read("<Q", 32)
        size, count = self.read("<HH", 54)
        self._loads: list[tuple[int, int, int]] = []
        self.dynamic: list[tuple[int, int, int]] = []
        for number in range(count):
            kind, _, offset, address, _, length, _, _ = self.read("<IIQQQQQQ", headers + number * size)
            if kind == _PT_LOAD:
                self._loads.append((address, offset, length))
            elif kind == _PT_DYNAMIC:
                self.dynamic = list(self._entries(offset))

    def read(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(form, self.content, offset)

    def write(self, form: str, offset: int, *values: int) -> None:
        struct.pack_into(form, self.content, offset, *values)

    def offset(self, address: int) -> int:
        """Where in the file lies what is loaded at this address."""
        for start, offset, length in self._loads:
            if start <= address < start + length:
                return address - start + offset
        raise Rejected(f"Nothing is loaded at {address:#x}", todo="Remove what lies in .build and run bin/setup")

    def entry(self, tag: int) -> tuple[int, int]:
        """Value of the first entry of the dynamic section with this tag, and where the entry stands."""
        return next((value, where) for found, value, where in self.dynamic if found == tag)

    def table(self, tag: int) -> int:
        return self.offset(self.entry(tag)[0])

    def text(self, place: int) -> str:
        start = self.table(_DT_STRTAB) + place
        return self.content[start : self.content.index(0, start)].decode()

    def _entries(self, offset: int) -> Iterator[tuple[int, int, int]]:
        while True:
            tag, value = self.read("<qQ", offset)
            if tag == 0:
                return
            yield tag, value, offset
            offset += 16


def edit(content: bytearray) -> None:
    """The whole edit; the length stays. Raises Rejected for what is no such library."""
    image = _Image(content)
    needed = {image.text(value): value for tag, value, _ in image.dynamic if tag == _DT_NEEDED}
    for tag, value, where in image.dynamic:
        if tag == _DT_NEEDED and image.text(value) in _GONE:
            image.write("<qQ", where, _DT_NEEDED, needed[_STANDS_IN])
    _forget_versions(image, _unlink_requirements(image))


def _unlink_requirements(image: _Image) -> dict[int, str]:
    """Take the three libraries out of the list of required versions; returns what the forgotten numbers belonged to."""
    count, count_place = image.entry(_DT_VERNEEDNUM)
    first, first_place = image.entry(_DT_VERNEED)
    start = offset = image.offset(first)
    kept: list[int] = []
    forgotten: dict[int, str] = {}
    for _ in range(count):
        _, versions, name, auxiliary, step = image.read("<HHIII", offset)
        library = image.text(name)
        if library in _GONE or library == _OTHER_VERSION:
            forgotten |= dict.fromkeys(_versions(image, offset + auxiliary, versions), library)
        else:
            kept.append(offset)
        offset += step
    for one, following in zip(kept, [*kept[1:], kept[-1]], strict=True):
        image.write("<I", one + 12, following - one)
    image.write("<qQ", first_place, _DT_VERNEED, first + kept[0] - start)
    image.write("<qQ", count_place, _DT_VERNEEDNUM, len(kept))
    return forgotten


def _versions(image: _Image, offset: int, count: int) -> Iterator[int]:
    for _ in range(count):
        _, _, number, _, step = image.read("<IHHII", offset)
        yield number
        offset += step


def _forget_versions(image: _Image, forgotten: dict[int, str]) -> None:
    """Undefined symbols stand before the first one of the hash table."""
    versions, symbols = image.table(_DT_VERSYM), image.table(_DT_SYMTAB)
    (undefined,) = image.read("<I", image.table(_DT_GNU_HASH) + 4)
    for number in range(undefined):
        (version,) = image.read("<H", versions + 2 * number)
        library = forgotten.get(version)
        if library is None:
            continue
        image.write("<H", versions + 2 * number, _GLOBAL_VERSION)
        if library in _GONE:
            information = symbols + _SYMBOL_BYTES * number + 4
            image.content[information] = (_WEAK << 4) | (image.content[information] & 15)
