"""client: the API's addresses as calls. Heavy modules are imported when the first call is made."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from coldchain.cli.errors import Invalid, Refused, Unreachable, reason_of
from coldchain.cli.language import _
from coldchain.cli.way import Way, way_to

if TYPE_CHECKING:
    import ssl

    import aiohttp

PATIENCE_SECONDS = 30.0
"""How long a lost connection is tried again: a controller that restarts is back before that."""
RETRY_SECONDS = 0.3
ANSWER_SECONDS = 60.0
LISTENING_SECONDS = 2.0
"""How long one of several addresses may take before the next one is tried."""

Query = Mapping[str, str] | Sequence[tuple[str, str]]


def app_path(app_id: str) -> str:
    """The part of an address that names an app."""
    return quote(app_id.strip("/"), safe="/.-")


class Client:
    """Calls raise Unreachable where nobody answers, Refused where the answer is no."""

    def __init__(self, url: str, *, token: str = "") -> None:
        """`url`: empty for the platform of this machine; several, with commas between, are tried one after the other.
        `token`: to show this one, whatever is kept."""
        self._given, self._token = url.split(","), token
        self._way: Way | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Client":
        self._found()
        return self

    @property
    def url(self) -> str:
        """Where it asks, as users are told."""
        return self._found().shown

    def _found(self) -> Way:
        if self._way is None:
            self._way = way_to(self._given[0].strip())
        return self._way

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: str) -> Any:
        return await self.call("GET", path, query=query)

    async def call(
        self, method: str, path: str, *, body: object = None, data: bytes | None = None, query: Query | None = None
    ) -> Any:
        """The JSON answer; None if there is no body. Sent is `body` as JSON, or `data` as it is."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=10)
        await self._turn()
        try:
            async with self._open().request(
                method, self._found().url + path, json=body, data=data, params=query, timeout=timeout
            ) as response:
                return await self._read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def get_patiently(self, path: str) -> Any:
        """As `get`; a lost connection or a platform that is not ready is tried again for PATIENCE_SECONDS."""
        import asyncio
        import time

        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self.get(path)
            except (Unreachable, Refused) as error:
                if (isinstance(error, Refused) and error.status < 500) or time.monotonic() > limit:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def lines(self, path: str, *, query: Query | None = None, headers: Query | None = None) -> AsyncIterator[str]:
        """The lines of an answer without an end."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=None)
        await self._turn()
        try:
            async with AsyncExitStack() as closing:
                place, given = self._found().url + path, query
                while True:
                    request = self._open().get(
                        place, params=given, headers=headers, timeout=timeout, allow_redirects=False
                    )
                    response = await closing.enter_async_context(request)
                    if response.status != 307:
                        break
                    place, given = self._sent_to(response.headers), None
                if response.status != 200:
                    await self._read(response)
                kept = b""
                async for chunk in response.content.iter_any():
                    *whole, kept = (kept + chunk).split(b"\n")
                    for line in whole:
                        yield line.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    @asynccontextmanager
    async def socket(
        self, path: str, query: Sequence[tuple[str, str]]
    ) -> AsyncIterator["aiohttp.ClientWebSocketResponse"]:
        """A connection both ways."""
        import aiohttp

        await self._turn()
        try:
            async with AsyncExitStack() as closing:
                place = self._found().url + path
                try:
                    connecting = self._open().ws_connect(place, params=query, max_msg_size=0)
                    socket = await closing.enter_async_context(connecting)
                except aiohttp.WSServerHandshakeError as error:
                    if error.status != 307:
                        raise
                    connecting = self._open().ws_connect(self._sent_to(error.headers), max_msg_size=0)
                    socket = await closing.enter_async_context(connecting)
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403, 429):
                words = _("the API does not let you do this (status {status})", status=error.status)
                raise Refused(error.status, {"message": words}) from error
            raise Unreachable(
                _("what answers at {url} does not take this", url=self.url), why=f"status {error.status}"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    def _sent_to(self, headers: Mapping[str, str] | None) -> str:
        """Where a standby says that the leader is. The same is shown there, so never by a way that others can read."""
        place = (headers or {}).get("Location", "")
        if not place.startswith(("http://", "https://")) or (self.url.startswith("https:") and place[:5] != "https"):
            raise Unreachable(_("{url} sends on to {place}, where nothing is shown", url=self.url, place=place))
        return place

    async def _turn(self) -> None:
        """Of several addresses take one where somebody listens, beginning with the last that was of use."""
        import asyncio
        from urllib.parse import urlsplit

        for _place in self._given[1:]:
            way = self._found()
            parts = urlsplit(way.url)
            try:
                async with asyncio.timeout(LISTENING_SECONDS):
                    _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            except (OSError, TimeoutError, ValueError):
                self._given.append(self._given.pop(0))
                self._way = None
                if self._session is not None:
                    await self._session.close()
                    self._session = None
            else:
                writer.close()
                return

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            way = self._found()
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else way.headers
            connector = aiohttp.UnixConnector(way.socket) if way.socket else aiohttp.TCPConnector(ssl=_trust(way))
            self._session = aiohttp.ClientSession(headers=headers, connector=connector)
        return self._session

    async def _read(self, response: "aiohttp.ClientResponse") -> Any:
        import json

        sent = await response.read()
        try:
            document = json.loads(sent) if sent else None
        except ValueError:
            raise self._stranger(response) from None
        if response.status >= 400:
            if not isinstance(document, dict):
                raise self._stranger(response)
            raise Refused(response.status, document)
        return document

    def _stranger(self, response: "aiohttp.ClientResponse") -> Unreachable:
        return Unreachable(
            _("what answers at {url} is not Coldchain", url=self.url),
            why=f"status {response.status}, {response.content_type}",
            todo=_("Name the API's address with --url or COLDCHAIN_URL."),
        )

    def _unreachable(self, error: BaseException) -> Unreachable | Invalid:
        import aiohttp

        if isinstance(error, aiohttp.InvalidURL):
            return Invalid(_("{url} is no address", url=self.url), todo=_("Write it as http://127.0.0.1:8080."))
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Unreachable(
                _("what answers at {url} has a certificate that nobody here vouches for", url=self.url),
                why=str(error.certificate_error),
                todo=_("Name the file of who does with `coldchain --ca FILE` or COLDCHAIN_CA."),
            )
        return Unreachable(
            _("no platform answers at {url}", url=self.url),
            why=reason_of(error),
            todo=_("Start it with `coldchain up`, or name another address with --url or COLDCHAIN_URL."),
        )


def _trust(way: Way) -> "ssl.SSLContext | bool":
    """Whom the API's certificate must be from: by this file, or as the machine has it."""
    import ssl

    if way.authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=way.authority)
    except OSError as error:
        raise Invalid(_("{file} cannot be read", file=way.authority), why=str(error)) from error
