"""http_call: one request to a service over HTTP, and what comes of it."""

from coldchain.model.base import Noun


class HttpCall(Noun, frozen=True, kw_only=True):
    """`url`: with path and query. `service`: its name, for messages, which go further than addresses and values do.
    `host`: if it is not that of the URL. `timeout_seconds`: until the whole answer is there. `answer_bytes_max`: after
    it was unpacked."""

    service: str
    url: str
    method: str = "GET"
    host: str = ""
    headers: dict[str, str] = {}
    body: bytes | None = None
    timeout_seconds: float = 5.0
    answer_bytes_max: int = 8 * 1024 * 1024

    def __str__(self) -> str:
        return self.service


class HttpAnswer(Noun, frozen=True, kw_only=True):
    """Of any status."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""
