"""A thin asyncio client of etcd's JSON gateway (`/v3`), of 3.4 and newer; it knows nothing of ours.

Keys and values are bytes here, revisions and leases integers. Three errors come out: `EtcdUnavailable` when no endpoint
answers or there is no leader, `EtcdRefused` when the answer was no, `EtcdCompacted` when a revision is not known any
more. A member that does not answer is left for the next one.
"""

import asyncio
import base64
import io
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

Document = dict[str, Any]
ATTEMPT_SECONDS = 2.0
"""After so long without a byte a member is taken for hung. A write that the cluster lost with its leader is never
answered either."""
BYTES_PER_SECOND = 1024 * 1024
"""Large writes get more time than that, by their size."""
PAUSE_SECONDS = 0.1
"""Before all members are asked again, such as while they choose a leader."""
PAGE_KEYS = 500
WORDS_BYTES_MAX = 200
"""So much is repeated of an answer that no gateway gave."""
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNAUTHENTICATED = 3, 8, 9, 16
NOT_FOUND, PERMISSION_DENIED, OUT_OF_RANGE = 5, 7, 11
TROUBLES = {1, 2, 4, 10, 13, 14, 15}
"""Codes of gRPC that say nothing about the request: cancelled, unknown, time is up, aborted, internal, unavailable,
data lost."""
UNHEARD = ("etcdserver: no leader", "etcdserver: too many requests")
"""With these a member has done nothing of what it was asked."""
STALE_TOKEN = ("invalid auth token", "revision in header is old", "user name is empty")


class EtcdUnavailable(Exception):  # noqa: N818 -- the field's word
    """No endpoint answers. `heard`: one of them may have carried the request out all the same."""

    def __init__(self, message: str, *, heard: bool) -> None:
        super().__init__(message)
        self.heard = heard


class EtcdRefused(Exception):  # noqa: N818
    """An endpoint answered with an error: gRPC's code and its own words."""

    def __init__(self, endpoint: str, code: int, message: str) -> None:
        super().__init__(f"{endpoint}: {message}")
        self.code = code
        self.message = message


class EtcdCompacted(Exception):  # noqa: N818
    """The history that was asked for is gone, or has not been: `revision` is where the known one begins or ends."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the history at hand is that of revision {revision}")
        self.revision = revision


class EndpointTrouble(Exception):  # noqa: N818
    """Between client and watch: one endpoint gave no answer. `heard` as of EtcdUnavailable."""

    def __init__(self, message: str, *, heard: bool) -> None:
        super().__init__(message)
        self.heard = heard


@dataclass(frozen=True)
class KeyValue:
    """`lease` 0: none."""

    key: bytes
    value: bytes
    revision: int
    lease: int


@dataclass(frozen=True)
class Outcome:
    """Of a transaction: `found` has what its failure branch read, one list of keys for each key."""

    succeeded: bool
    revision: int
    found: tuple[tuple[KeyValue, ...], ...]


@dataclass(frozen=True)
class Put:
    key: bytes
    value: bytes
    lease: int = 0

    def document(self) -> Document:
        put = {"key": encoded(self.key), "value": encoded(self.value)}
        return {"request_put": {**put, "lease": str(self.lease)} if self.lease else put}


@dataclass(frozen=True)
class Delete:
    key: bytes

    def document(self) -> Document:
        return {"request_delete_range": {"key": encoded(self.key)}}


class EtcdClient:
    """All members of one cluster, by their addresses (`http://127.0.0.1:2379`). With a user it takes a token, and a new
    one when that has ended. `timeout_seconds`: how long a question may take, whoever answers."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = 5.0,
    ) -> None:
        self.endpoints = tuple(one.rstrip("/") for one in endpoints)
        self.timeout_seconds = timeout_seconds
        self.closed = False
        self._user = user
        self._password = password
        self._tls = tls
        self._token = ""
        self._authenticating = asyncio.Lock()
        self._preferred = 0
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Ends everything that waits. Closing twice is closing once."""
        self.closed = True
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    # Keys

    async def get(self, key: bytes) -> KeyValue | None:
        answer = await self.call("/v3/kv/range", {"key": encoded(key)}, repeatable=True)
        return next(iter(_keys(answer)), None)

    async def below(self, prefix: bytes) -> tuple[list[KeyValue], int]:
        """All keys below the prefix in order, page by page, as of one revision, and that revision."""
        while True:
            try:
                return await self._pages(prefix)
            except EtcdCompacted:  # while it was read, so slowly; the next reading begins at a later revision
                continue

    async def revision(self, key: bytes) -> int:
        """The present one of the cluster, not only of a member, by a key that the user may read."""
        question = {"key": encoded(key), "keys_only": True}
        return revision_of(await self.call("/v3/kv/range", question, repeatable=True))

    async def transaction(self, held: Sequence[tuple[bytes, int]], changes: Sequence[Put | Delete]) -> Outcome:
        """Carries out the changes if each key of `held` is at that revision (0: absent); else says where they are. One
        of the two is not empty."""
        if not changes:
            return await self._compared(held)
        return await self._transaction(held, [change.document() for change in changes], repeatable=False)

    async def try_limits(self, prefix: bytes, operations: int, operation_bytes: int) -> None:
        """Reads nothing by one operation as large as so many would be, and by so many in one transaction. Raises
        EtcdRefused where a member takes less. Both in one would keep a busy member for seconds."""
        for many, key in ((1, prefix.ljust(operations * operation_bytes, b"\0")), (operations, prefix)):
            nothing = {"request_range": {"key": encoded(key), "keys_only": True}}
            await self._transaction([], [nothing] * many, repeatable=True)

    async def _compared(self, held: Sequence[tuple[bytes, int]]) -> Outcome:
        # Something must be read, or a member answers from what it happens to know.
        read = [{"request_range": {"key": encoded(held[0][0]), "keys_only": True}}]
        return await self._transaction(held, read, repeatable=True)

    async def _transaction(
        self, held: Sequence[tuple[bytes, int]], operations: Sequence[Document], *, repeatable: bool
    ) -> Outcome:
        equal = {"target": "MOD", "result": "EQUAL"}
        body = {
            "compare": [{**equal, "key": encoded(key), "mod_revision": str(at)} for key, at in held],
            "success": operations,
            "failure": [{"request_range": {"key": encoded(key), "keys_only": True}} for key, _ in held],
        }
        answer = await self.call("/v3/kv/txn", body, repeatable=repeatable)
        succeeded = bool(answer.get("succeeded"))
        responses = [] if succeeded else answer.get("responses", [])
        found = tuple(tuple(_keys(one.get("response_range", {}))) for one in responses)
        return Outcome(succeeded, revision_of(answer), found)

    async def _pages(self, prefix: bytes) -> tuple[list[KeyValue], int]:
        begin, end, revision, limit = prefix, end_of(prefix), 0, PAGE_KEYS
        found: list[KeyValue] = []
        while True:
            question = {"key": encoded(begin), "range_end": encoded(end), "revision": str(revision), "limit": limit}
            try:
                answer = await self.call("/v3/kv/range", question, repeatable=True)
            except EtcdRefused as error:
                if error.code == OUT_OF_RANGE and revision:
                    raise EtcdCompacted(revision) from error
                if error.code != RESOURCE_EXHAUSTED or limit == 1:
                    raise
                limit //= 2  # so large are the values
                continue
            found += _keys(answer)
            revision = revision or revision_of(answer)
            if not answer.get("more"):
                return found, revision
            begin = found[-1].key + b"\0"

    # Leases

    async def grant_lease(self, seconds: int) -> tuple[int, int]:
        """Its id, and the seconds granted. One that nobody heard of ends by itself."""
        answer = await self.call("/v3/lease/grant", {"TTL": str(seconds)}, repeatable=True)
        return int(answer["ID"]), int(answer["TTL"])

    async def keep_lease_alive(self, lease: int, timeout_seconds: float) -> int:
        """The seconds granted; 0 if it has ended."""
        answer = await self.call(
            "/v3/lease/keepalive", {"ID": str(lease)}, repeatable=True, timeout_seconds=timeout_seconds
        )
        return int(answer.get("result", {}).get("TTL", 0))

    async def revoke_lease(self, lease: int) -> None:
        """One that has ended is no error."""
        try:
            await self.call("/v3/lease/revoke", {"ID": str(lease)}, repeatable=True)
        except EtcdRefused as error:
            if error.code != NOT_FOUND:
                raise

    # The wire

    async def call(
        self, path: str, body: Document, *, repeatable: bool, timeout_seconds: float | None = None
    ) -> Document:
        """Asks the members one after the other until one answers. `repeatable`: asking twice does no harm; else it ends
        with the first that may have heard."""
        content = msgspec.json.encode(body)
        more_seconds = len(content) / BYTES_PER_SECOND
        until = asyncio.get_running_loop().time() + (timeout_seconds or self.timeout_seconds) + more_seconds
        said: dict[str, str] = {}
        heard = False
        while True:
            for endpoint in self.in_turn():
                left = max(until - asyncio.get_running_loop().time(), PAUSE_SECONDS)
                # Where another may be asked there must be time for it.
                share = left / 2 if len(self.endpoints) > 1 else left
                connect, silent = min(ATTEMPT_SECONDS, share), ATTEMPT_SECONDS + more_seconds
                silent = min(silent, share) if repeatable else silent
                timeout = aiohttp.ClientTimeout(total=left, sock_connect=connect, sock_read=silent)
                try:
                    return await self._ask(endpoint, path, content, timeout)
                except EndpointTrouble as trouble:
                    said[endpoint] = str(trouble)
                    heard = heard or trouble.heard
                    self.turn_from(endpoint)
                    if trouble.heard and not repeatable:
                        raise EtcdUnavailable(_told(said), heard=True) from trouble
            if asyncio.get_running_loop().time() + 2 * PAUSE_SECONDS >= until:
                raise EtcdUnavailable(_told(said), heard=heard)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, endpoint: str, path: str, content: bytes, timeout: aiohttp.ClientTimeout) -> Document:
        """One member, with a token; with a new one where it does not know the old."""
        for last in (False, True):
            token = await self.token(endpoint, timeout)
            try:
                return await self._post(endpoint, path, content, token, timeout)
            except EtcdRefused as error:
                if last or not token or not any(words in error.message for words in STALE_TOKEN):
                    raise
                if token == self._token:  # else somebody has a newer one already
                    self.forget_token()
        raise AssertionError

    async def token(self, endpoint: str, timeout: aiohttp.ClientTimeout) -> str:
        """The present token; empty without a user, or where the cluster asks nobody who he is."""
        if not self._user:
            return ""
        async with self._authenticating:
            if not self._token:
                who = msgspec.json.encode({"name": self._user, "password": self._password})
                try:
                    answer = await self._post(endpoint, "/v3/auth/authenticate", who, "", timeout)
                    self._token = str(answer["token"])
                except EndpointTrouble as trouble:
                    # Whatever it was for was not asked.
                    raise EndpointTrouble(str(trouble), heard=False) from trouble
                except EtcdRefused as error:
                    if error.code != FAILED_PRECONDITION:
                        raise
            return self._token

    @property
    def takes_tokens(self) -> bool:
        """Whether it has a user; the token of the moment may just have been forgotten."""
        return bool(self._user)

    def forget_token(self) -> None:
        """The next question takes a new one."""
        self._token = ""

    async def _post(
        self, endpoint: str, path: str, content: bytes, token: str, timeout: aiohttp.ClientTimeout
    ) -> Document:
        async with self.request(endpoint, path, content, token, timeout) as response:
            return await answer_of(endpoint, response)

    def request(
        self, endpoint: str, path: str, content: bytes, token: str, timeout: aiohttp.ClientTimeout
    ) -> "_Request":
        """As an asynchronous context that raises EndpointTrouble for whatever goes wrong on the way."""
        # A member that has lost the others says so at once with this, instead of waiting for them.
        headers = {"Grpc-Metadata-hasleader": "true", "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = token
        # A file is sent piece by piece: a large write does not hold up everything else.
        url, file = f"{endpoint}{path}", io.BytesIO(content)
        return _Request(self._session.post(url, data=file, headers=headers, timeout=timeout))

    def in_turn(self) -> Sequence[str]:
        """All endpoints, the one that answered last first."""
        return self.endpoints[self._preferred :] + self.endpoints[: self._preferred]

    def turn_from(self, endpoint: str) -> None:
        """Begin with the next one, unless somebody has turned from it already."""
        if self.endpoints[self._preferred] == endpoint:
            self._preferred = (self._preferred + 1) % len(self.endpoints)

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self.closed:
            raise EtcdUnavailable("the client is closed", heard=False)
        if self._opened is None:
            # No limit of connections: each watch holds one.
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
            self._opened = aiohttp.ClientSession(connector=connector)
        return self._opened


class _Request:
    """An answer on its way."""

    def __init__(self, asked: Any) -> None:
        self._asked = asked

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            response: aiohttp.ClientResponse = await self._asked.__aenter__()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise trouble_of(error) from error
        return response

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        await self._asked.__aexit__(kind, error, traceback)
        if isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
            raise trouble_of(error) from error


def trouble_of(error: Exception) -> EndpointTrouble:
    """Who could not be connected to has heard nothing."""
    unheard = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    silent = isinstance(error, TimeoutError) and not unheard
    words = "no answer in time" if silent else str(error) or type(error).__name__
    return EndpointTrouble(words, heard=not unheard)


async def answer_of(endpoint: str, response: aiohttp.ClientResponse) -> Document:
    """The document of an answer. Raises EtcdRefused, EndpointTrouble."""
    content = await response.read()
    try:
        document = msgspec.json.decode(content)
    except ValueError:
        said = content[:WORDS_BYTES_MAX].decode(errors="replace").strip()
        words = f"this is no answer of etcd's JSON gateway (status {response.status}: {said})"
        raise EndpointTrouble(words, heard=response.status >= 500) from None
    if response.status >= 400 or "error" in document:
        raise_error(endpoint, document)
    return dict(document)


def raise_error(endpoint: str, document: Document) -> None:
    """Raises EtcdRefused or EndpointTrouble as an error document says, of an answer or of a stream."""
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    code = int(inner.get("grpc_code") or inner.get("code") or 2)
    message = str(inner.get("message") or error)
    if message in UNHEARD:
        raise EndpointTrouble(message, heard=False)
    if code in TROUBLES:
        raise EndpointTrouble(message, heard=True)
    raise EtcdRefused(endpoint, code, message)


async def lines_of(response: aiohttp.ClientResponse) -> AsyncGenerator[Document, None]:
    """The documents of a stream, one a line, of any length."""
    pieces: AsyncIterator[bytes] = response.content.iter_any()
    buffer, looked_at = bytearray(), 0
    async for piece in pieces:
        buffer += piece
        while (end := buffer.find(b"\n", looked_at)) >= 0:
            yield msgspec.json.decode(buffer[:end])
            del buffer[: end + 1]
            looked_at = 0
        looked_at = len(buffer)


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that begin with the prefix; a zero byte where there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def revision_of(document: Document) -> int:
    return int(document.get("header", {}).get("revision", 0))


def key_value(document: Document) -> KeyValue:
    return KeyValue(
        key=decoded(document["key"]),
        value=decoded(document.get("value", "")),
        revision=int(document["mod_revision"]),
        lease=int(document.get("lease", 0)),
    )


def _keys(document: Document) -> list[KeyValue]:
    return [key_value(one) for one in document.get("kvs", ())]


def _told(said: Mapping[str, str]) -> str:
    return "; ".join(f"{endpoint}: {words}" for endpoint, words in said.items())
