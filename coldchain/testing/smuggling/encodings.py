"""Transfer-Encoding in all the ways in which one server knows it and another does not."""

from collections.abc import Iterator

from coldchain.testing.smuggling.vector import HEAD, HIDDEN, REFUSED, Vector


def _spaced() -> Iterator[tuple[str, bytes]]:
    """Transfer-Encoding with each character that somebody skips, at each place where somebody does."""
    for code in (*range(0x01, 0x0A), *range(0x0B, 0x0D), *range(0x0E, 0x21), 0x00, 0x7F, 0x80, 0x85, 0xA0, 0xAD, 0xFF):
        character = bytes([code])
        yield f"before the name {code:#04x}", character + b"Transfer-Encoding: chunked"
        yield f"in the name {code:#04x}", b"Transfer" + character + b"Encoding: chunked"
        yield f"after the name {code:#04x}", b"Transfer-Encoding" + character + b": chunked"
        if character not in b"\t ":
            yield f"before the value {code:#04x}", b"Transfer-Encoding: " + character + b"chunked"
            yield f"after the value {code:#04x}", b"Transfer-Encoding: chunked" + character


TRANSFER_ENCODINGS: dict[str, bytes] = {
    "plain": b"Transfer-Encoding: chunked",
    "no space": b"Transfer-Encoding:chunked",
    "a tab": b"Transfer-Encoding:\tchunked",
    "spaces": b"Transfer-Encoding:  chunked  ",
    "capitals": b"TRANSFER-ENCODING: CHUNKED",
    "mixed": b"tRANSFER-eNCODING: cHuNkEd",
    "an unknown coding": b"Transfer-Encoding: xchunked",
    "a longer coding": b"Transfer-Encoding: chunkedx",
    "a shorter coding": b"Transfer-Encoding: chunk",
    "identity": b"Transfer-Encoding: identity",
    "chunked, identity": b"Transfer-Encoding: chunked, identity",
    "identity, chunked": b"Transfer-Encoding: identity, chunked",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
    "chunked twice in one": b"Transfer-Encoding: chunked, chunked",
    "a comma before": b"Transfer-Encoding: , chunked",
    "a comma after": b"Transfer-Encoding: chunked,",
    "quotes": b'Transfer-Encoding: "chunked"',
    "single quotes": b"Transfer-Encoding: 'chunked'",
    "a parameter": b"Transfer-Encoding: chunked;q=1",
    "nothing": b"Transfer-Encoding:",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "twice, the second unknown": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "twice, the first unknown": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "twice, one identity": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded by a tab": b"Transfer-Encoding:\r\n\tchunked",
    "folded by a bare line feed": b"Transfer-Encoding:\n chunked",
    "behind a fold": b"X: x\r\n Transfer-Encoding: chunked",
    "behind a bare line feed": b"X: x\nTransfer-Encoding: chunked",
    "behind a bare carriage return": b"X: x\rTransfer-Encoding: chunked",
    "behind a zero": b"X: x\x00\r\nTransfer-Encoding: chunked",
    "two carriage returns": b"Transfer-Encoding: chunked\r",
    "broken by a line feed": b"Transfer-Encoding: chu\nnked",
    "an equals sign": b"Transfer-Encoding=chunked",
    "a semicolon": b"Transfer-Encoding; chunked",
    "no colon": b"Transfer-Encoding chunked",
    "two colons": b"Transfer-Encoding:: chunked",
    "an underscore": b"Transfer_Encoding: chunked",
    "named by Connection": b"Connection: transfer-encoding, content-length\r\nTransfer-Encoding: chunked",
}


def chunk(data: bytes) -> bytes:
    return b"%02x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def obfuscated_encodings() -> Iterator[Vector]:
    """One server takes the header for Transfer-Encoding, the other does not. It is refused, or it is nobody's header
    and does not reach an app; then the length holds, and what follows is another request to the gateway."""
    inner = b"0\r\n\r\n" + HIDDEN
    chunked = chunk(HIDDEN)
    for name, line in (*TRANSFER_ENCODINGS.items(), *_spaced()):
        length = b"Content-Length: %d\r\n" % len(inner)
        yield Vector(f"CL.TE {name}", HEAD + length + line + b"\r\n\r\n" + inner, (REFUSED, inner))
        yield Vector(
            f"TE.CL {name}", HEAD + b"Content-Length: 4\r\n" + line + b"\r\n\r\n" + chunked, (REFUSED, chunked[:4])
        )
        yield Vector(f"TE {name}", HEAD + line + b"\r\n\r\n" + chunk(b"hello"), (REFUSED, b"hello", b""))


def lengths_beside_encodings() -> Iterator[Vector]:
    """Both headers, in either order and in either version: always refused."""
    inner = b"0\r\n\r\n" + HIDDEN
    lines = [b"Content-Length: %d\r\n" % len(inner), b"Transfer-Encoding: chunked\r\n"]
    for order, both in (("length first", lines), ("encoding first", lines[::-1])):
        for version in (b"1.1", b"1.0"):
            head = HEAD.replace(b"HTTP/1.1", b"HTTP/" + version)
            yield Vector(f"both, {order}, {version.decode()}", head + b"".join(both) + b"\r\n" + inner, (REFUSED,))
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"hello")
    yield Vector("chunked in 1.0", HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + chunked, (REFUSED,))
    yield Vector("GET with chunks", HEAD.replace(b"POST", b"GET") + chunked, (b"hello",))
