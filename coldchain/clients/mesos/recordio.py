"""RecordIO: records behind their lengths in decimal digits and a line end, in pieces of any size; and what both who
speak it have in common."""

DIGITS_MAX = 20
NOT_YET = frozenset({404, 500, 502, 503, 504})
"""Status codes of a master or an agent that cannot answer now. One that has just begun listens before it has any route,
and answers 404."""


class DamagedStream(ValueError):  # noqa: N818
    """What came is no record."""


class RecordDecoder:
    """Give it what comes, as it comes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted: int | None = None

    def feed(self, piece: bytes) -> list[bytes]:
        """The records that end in this piece. Raises DamagedStream; it is of no use afterwards."""
        self._buffer += piece
        records: list[bytes] = []
        at = 0
        while True:
            if self._wanted is None:
                end = self._buffer.find(b"\n", at, at + DIGITS_MAX + 1)
                if end < 0:
                    if len(self._buffer) - at > DIGITS_MAX:
                        raise DamagedStream(f"no length of a record: {bytes(self._buffer[at : at + DIGITS_MAX])!r}")
                    break
                digits = bytes(self._buffer[at:end])
                if not digits.isdigit():
                    raise DamagedStream(f"no length of a record: {digits!r}")
                self._wanted, at = int(digits), end + 1
            if len(self._buffer) - at < self._wanted:
                break
            records.append(bytes(self._buffer[at : at + self._wanted]))
            at += self._wanted
            self._wanted = None
        del self._buffer[:at]
        return records

    @property
    def between_records(self) -> bool:
        """Whether a stream may end here."""
        return self._wanted is None and not self._buffer
