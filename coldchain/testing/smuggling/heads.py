"""First lines, hosts and headers that two servers could read differently, and requests behind others."""

from collections.abc import Iterator

from coldchain.testing.smuggling.vector import HEAD, REFUSED, Vector


def request_lines() -> Iterator[Vector]:
    """First lines that are none, or that somebody reads as another path."""
    rest = b"\r\nHost: shop.test\r\n\r\n"
    for line in (
        b"GET PATH",
        b"GET asked/PATH HTTP/1.1",
        b"GET /asked/PATH HTTP/1.1 x",
        b"GET /asked/PATH x HTTP/1.1",
        b"GET /asked/PATH\x00 HTTP/1.1",
        b"GET /asked/PATH\x01 HTTP/1.1",
        b"GET /asked/PATH\x7f HTTP/1.1",
        b"GET\t/asked/PATH HTTP/1.1",
        b"GET /asked/PATH\tHTTP/1.1",
        b"GET /asked/PATH HTTP/2.0",
        b"GET /asked/PATH HTTP/3.0",
        b"GET /asked/PATH HTTP/11",
        b"GET /asked/PATH HTTP/1.1x",
        b"GET /asked/PATH HTTPS/1.1",
        b"GET /asked/PATH http/1.1",
        b"get /asked/PATH HTTP/1.1",
        b"G\x00T /asked/PATH HTTP/1.1",
        b" GET /asked/PATH HTTP/1.1",
        b"GET /asked/PATH HTTP/1.1\rX: y",
        b"GET /asked/PATH?\x00 HTTP/1.1",
        b"GET /asked/PATH/%00 HTTP/1.1",
        b"GET /asked/PATH/%zz HTTP/1.1",
        b"GET /asked/PATH/../../../x HTTP/1.1",
        b"CONNECT shop.test:80 HTTP/1.1",
        b"CONNECT /asked/PATH HTTP/1.1",
        b"TRACE /asked/PATH HTTP/1.1",
        b"GET \\asked\\PATH HTTP/1.1",
        b"GET * HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"GET //shop.test@/asked/PATH HTTP/1.1",
        b"GET ftp://shop.test/asked/PATH HTTP/1.1 x",
        b"GET /asked/PATH" + b"a" * 40_000 + b" HTTP/1.1",
    ):
        yield Vector(f"line {line[:40]!r}", line + rest, (REFUSED,))
    for line in (
        b"GET  /asked/PATH HTTP/1.1",
        b"\r\nGET /asked/PATH HTTP/1.1",
        b"GET /asked/PATH HTTP/1.1 ",
        b"GET /asked/PATH HTTP/1.2",
    ):
        yield Vector(f"line {line!r}", line + rest, (REFUSED, b""))
    for line in (
        b"GET /asked/x/../PATH HTTP/1.1",
        b"GET /asked/./PATH HTTP/1.1",
        b"GET /%61sked/PATH HTTP/1.1",
        b"GET /asked%2fPATH HTTP/1.1",
        b"GET /asked/PATH#x HTTP/1.1",
        b"GET /asked/%2e%2e/asked/PATH HTTP/1.1",
    ):
        yield Vector(f"line {line!r}", line + rest, (b"",))
    yield Vector("a bare line feed ends the lines", b"GET /asked/PATH HTTP/1.1\nHost: shop.test\n\n", (REFUSED, b""))
    yield Vector("HTTP/0.9", b"GET /asked/PATH\r\n", (REFUSED,))
    yield Vector("HTTP/1.0", b"GET /asked/PATH HTTP/1.0\r\nHost: shop.test\r\n\r\n", (b"",))


def hosts() -> Iterator[Vector]:
    """Hosts that are two, or none."""
    line = b"GET /asked/PATH HTTP/1.1\r\n"
    for lines in (
        b"",
        b"Host: shop.test\r\nHost: shop.test\r\n",
        b"Host: shop.test\r\nHost: other.test\r\n",
        b"Host: shop.test\r\n Host: other.test\r\n",
        b"Host : shop.test\r\n",
        b" Host: shop.test\r\n",
        b"Host: shop.test\x00\r\n",
        b"Host: shop.test/x\r\n",
        b"Host: shop test\r\n",
        b"Host: shop.test\x01\r\n",
        b"Host: shop..test\r\n",
        b"Host: shop.test\rX: y\r\n",
        b"Host\x0b: shop.test\r\n",
        b"Host: \r\n",
        b"Host: shop.test\\x\r\n",
        b"Host_: shop.test\r\n",
    ):
        yield Vector(f"hosts {lines!r}", line + lines + b"\r\n", (REFUSED,))
    absolute = b"GET http://shop.test/asked/PATH HTTP/1.1\r\n"
    yield Vector("absolute", absolute + b"Host: shop.test\r\n\r\n", (b"",))
    yield Vector("absolute, without a host", absolute + b"\r\n", (REFUSED,))
    yield Vector("absolute, an unknown host", absolute + b"Host: other.test\r\n\r\n", (REFUSED,))
    yield Vector("absolute, another address", absolute.replace(b"shop", b"other") + b"Host: shop.test\r\n\r\n", (b"",))


def headers() -> Iterator[Vector]:
    """Headers that are none, and those by which a consumer would pass for the gateway."""
    line = b"GET /asked/PATH HTTP/1.1\r\nHost: shop.test\r\n"
    for header in (
        b"X: a\x00b",
        b"X: a\rb",
        b"X\r: a",
        b": a",
        b"X y: a",
        b"X: a\r\n b: c",
        b"\x00: a",
        b"X: " + b"a" * 40_000,
    ):
        yield Vector(f"header {header[:20]!r}", line + header + b"\r\n\r\n", (REFUSED,))
    for header in (
        b"X: a\x01b",
        b"X: a\x7fb",
        b"X",
        b"X(: a",
        b"X_Forwarded_For: 1.2.3.4",
        b"X-Forwarded-For: 1.2.3.4",
        b"Connection: X-Forwarded-For, Host",
        b"Connection: close, content-length",
        b"X-Original-URL: /SMUGGLED",
        b"X-HTTP-Method-Override: DELETE",
        b"Expect: 100-continue",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        b"TE: trailers, chunked",
        b"Keep-Alive: x",
    ):
        yield Vector(f"header {header[:40]!r}", line + header + b"\r\n\r\n", (REFUSED, b""))
    yield Vector(
        "many headers", line + b"".join(b"X%d: %s\r\n" % (one, b"a" * 1000) for one in range(60)) + b"\r\n", (REFUSED,)
    )


def pipelines() -> Iterator[Vector]:
    """Requests behind others: to the gateway each is one of its own."""
    hidden = b"GET /SMUGGLED HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    yield Vector("two in one", HEAD + b"Content-Length: 5\r\n\r\nhello" + hidden, (b"hello",))
    yield Vector("behind no body", HEAD.replace(b"POST", b"GET") + b"\r\n" + hidden, (b"",))
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 1\r\n\r\n"
    yield Vector("behind an upgrade that nobody wants", HEAD.replace(b"POST", b"GET") + upgrade + hidden, (b"",))
    for method in (b"HEAD", b"OPTIONS", b"DELETE"):
        head = HEAD.replace(b"POST", method)
        yield Vector(
            f"{method.decode()} with a body", head + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden, (hidden,)
        )
    yield Vector("a body that is a request", HEAD + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden, (hidden,))
    expecting = HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"
    yield Vector("a body that was to wait", expecting + hidden, (REFUSED, b"hello"))
