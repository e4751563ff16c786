"""The known classes of request smuggling and of attacks by headers, as bytes. In each `PATH` stands for a path of its
own and `SMUGGLED` for one that no route leads to: whoever takes what stands in a body for a request asks for that."""

from dataclasses import dataclass

PATH = b"/asked/PATH"
HIDDEN = b"GET /SMUGGLED HTTP/1.1\r\nHost: shop.test\r\nX: "
HEAD = b"POST " + PATH + b" HTTP/1.1\r\nHost: shop.test\r\n"
REFUSED = None
"""The gateway refuses the request or closes the connection; nothing of it reaches an app."""


@dataclass(frozen=True)
class Vector:
    """What is sent, and what may come of it, after the standard: nothing, or one request with one of these bodies."""

    name: str
    sent: bytes
    bodies: tuple[bytes | None, ...]
    ends: bool = False
    """Nothing follows: the consumer closes its side."""
