"""Lengths of bodies and of chunks that two servers could read as different numbers."""

from collections.abc import Iterator

from coldchain.testing.smuggling.vector import HEAD, HIDDEN, REFUSED, Vector


def wrong_lengths() -> Iterator[Vector]:
    """Lengths that are none, that are two, or that somebody reads as another number."""
    none = (
        b"+5",
        b"-5",
        b"-1",
        b"0x5",
        b"5,5",
        b"5, 5",
        b"5;",
        b"5.0",
        b"5e0",
        b"1e1",
        b"5 5",
        b"",
        b"five",
        b"5\x00",
        b"\x005",
        b"5\x0b",
        b"\x0b5",
        b"5_0",
        b"\xd9\xa5",
        b"99999999999999999999",
        b"18446744073709551621",
        b"9223372036854775808",
        b"4294967301x",
        b'"5"',
        b"5\x7f",
        b"5\xa0",
        b"5\n 5",
        b"5\r\n 5",
    )
    for value in none:
        yield Vector(f"length {value!r}", HEAD + b"Content-Length: " + value + b"\r\n\r\nhello" + HIDDEN, (REFUSED,))
    for value in (b"5", b" 5 ", b"005"):
        yield Vector(f"length {value!r}", HEAD + b"Content-Length:" + value + b"\r\n\r\nhello", (b"hello",))
    for value in (b"5\t", b"5\r", b"\t5"):
        yield Vector(f"length {value!r}", HEAD + b"Content-Length: " + value + b"\r\n\r\nhello", (REFUSED, b"hello"))
    for first, second in ((b"5", b"5"), (b"5", b"6"), (b"0", b"5"), (b"5", b"0"), (b"5", b"+5"), (b"5", b"")):
        lines = b"Content-Length: %s\r\nContent-Length: %s\r\n" % (first, second)
        yield Vector(f"lengths {first!r} {second!r}", HEAD + lines + b"\r\nhello" + HIDDEN, (REFUSED,))
    for line in (
        b"Content-Length : 5",
        b"Content-Length\t: 5",
        b" Content-Length: 5",
        b"Content_Length: 5",
        b"Content-Length\x00: 5",
        b"Content-Length\xa0: 5",
        b"\x0bContent-Length: 5",
        b"X: x\rContent-Length: 5",
    ):
        yield Vector(f"length by {line!r}", HEAD + line + b"\r\n\r\nhello", (REFUSED, b""))
        other = HEAD + b"Content-Length: 0\r\n" + line + b"\r\n\r\nhello"
        yield Vector(f"length 0 and {line!r}", other, (REFUSED, b""))
    yield Vector("GET with a length", HEAD.replace(b"POST", b"GET") + b"Content-Length: 5\r\n\r\nhello", (b"hello",))
    yield Vector("no length", HEAD + b"\r\n", (b"",))
    yield Vector("more length than body", HEAD + b"Content-Length: 5000\r\n\r\nhello", (REFUSED,), ends=True)


def wrong_chunks() -> Iterator[Vector]:
    """Chunks that one server reads as more or fewer bytes than another."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    end = b"\r\n0\r\n\r\n"
    hello = b"\r\nhello" + end
    for size in (
        b"0x5",
        b"+5",
        b"-5",
        b"-0",
        b"",
        b"g",
        b"5g",
        b"5,",
        b"5=",
        b"5_",
        b"5.",
        b"\x005",
        b"\x0b5",
        b"\xa05",
        b"5\xa0",
        b"5\x00",
        b"FFFFFFFFFFFFFFFF",
        b"8000000000000000",
        b"7fffffffffffffff",
        b"10000000000000005",
        b"\r\n5",
        b"\n5",
    ):
        yield Vector(f"chunk size {size!r}", head + size + hello, (REFUSED,))
    for size in (b"5", b"05", b"0000000000000005", b"5;a=b", b"5;a", b'5;a="b;c"', b"5 ;a=b", b"5;", b"5; a = b"):
        yield Vector(f"chunk size {size!r}", head + size + hello, (REFUSED, b"hello"))
    yield Vector("capital digits", head + b"A\r\n0123456789" + end, (b"0123456789",))
    yield Vector("an extension with a line feed", head + b"5;a\nhello" + end, (REFUSED, b"hello"))
    yield Vector("an extension that hides one", head + b"2;\nxx\r\n52\r\n0\r\n\r\n" + HIDDEN + end, (REFUSED, b"xx"))
    yield Vector("a bare line feed after the size", head + b"5\nhello" + end, (REFUSED, b"hello"))
    yield Vector("a bare carriage return after the size", head + b"5\rhello" + end, (REFUSED,))
    yield Vector("a bare line feed after the data", head + b"5\r\nhello\n0\r\n\r\n", (REFUSED, b"hello"))
    yield Vector("no end of the data", head + b"5\r\nhello0\r\n\r\n", (REFUSED,))
    yield Vector("more data than said", head + b"4\r\nhello" + end, (REFUSED,))
    # nginx takes a bare line feed for the end of a chunk; what it passes on has a length, so no app has to
    yield Vector("less data than said", head + b"6\r\nhello" + end, (REFUSED, b"hello\r"))
    yield Vector("an extension without end", head + b"5;" + b"a" * 100_000 + hello, (REFUSED, b"hello"))
    yield Vector("size 0 with more", head + b"00\r\n\r\n" + HIDDEN, (b"",))
    for line in (
        b"X: y",
        b"Content-Length: 50",
        b"Transfer-Encoding: chunked",
        b"Host: other.test",
        HIDDEN + b"x",
        b"bad line",
    ):
        yield Vector(f"trailer {line[:20]!r}", head + b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n", (REFUSED, b"hello"))
