"""A thin asyncio client of Consul's HTTP API; it knows nothing of ours.

Documents go in and come out as plain objects in Consul's field names. Two errors come out: `ConsulUnavailable` when
nobody answers or the cluster has no leader (nothing is known then, the request may or may not have been carried out),
`ConsulRefused` when the answer was no.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from coldchain.clients.back_off import FIRST_SECONDS, back_off_seconds

Document = dict[str, Any]
AT_ONCE_SECONDS = 0.1
"""Sooner nobody answers who waits for something newer and has nothing newer."""
BLOCKED_MARGIN_SECONDS = 10.0
"""A server answers a blocking query up to a sixteenth of the wait later than asked for, and then it must travel."""


class ConsulUnavailable(Exception):  # noqa: N818 -- the field's word
    """Nobody answers, or no leader is known, or what answered is not Consul."""


class ConsulRefused(Exception):  # noqa: N818
    """The server answered with an error: HTTP status and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Answer:
    """`index`: from which on a blocking query waits for something newer; 0 where there is none."""

    document: Any
    index: int


@dataclass(frozen=True)
class Seen:
    """A document that is watched. `certain`: it follows the one before it in the same history, so what is missing was
    taken away. Else the one before is unknown (the first), or there was a fault between, or the index did not grow with
    the change: the server may have lost its content, be another one, or not let us see it."""

    document: Any
    certain: bool


class ConsulClient:
    """One agent or server, by its address (`http://127.0.0.1:8500`). `token`: of its access control lists. `tls`: whom
    to believe, and what to show, over https."""

    def __init__(
        self, url: str, *, token: str = "", timeout_seconds: float = 10.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        self._tls = tls
        self._headers = {"X-Consul-Token": token} if token else {}
        self._timeout_seconds = timeout_seconds
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    # Services

    async def register_service(self, definition: Document) -> None:
        """As `/v1/agent/service/register` takes it. The same id again replaces the definition."""
        await self._call("PUT", "/v1/agent/service/register", body=definition)

    async def deregister_service(self, service_id: str) -> None:
        """One that is not there is no error, whatever the version of the server says of it."""
        try:
            await self._call("PUT", f"/v1/agent/service/deregister/{_path(service_id)}")
        except ConsulRefused as error:
            if error.status != 404:
                raise

    async def maintain_service(self, service_id: str, reason: str | None) -> None:
        """Out of service for a reason, or with None back in. Refused with 404 for one that is not there."""
        query = {"enable": "false"} if reason is None else {"enable": "true", "reason": reason}
        await self._call("PUT", f"/v1/agent/service/maintenance/{_path(service_id)}", query=query)

    async def agent_services(self) -> dict[str, Document]:
        """What is registered with this agent, by id."""
        return dict((await self._call("GET", "/v1/agent/services")).document)

    async def agent_checks(self) -> dict[str, Document]:
        """The checks of this agent, by id."""
        return dict((await self._call("GET", "/v1/agent/checks")).document)

    async def service_names(self) -> list[str]:
        """All names that something is registered under."""
        return list((await self._call("GET", "/v1/catalog/services")).document)

    async def report_check(self, check_id: str, status: str, output: str = "") -> None:
        """A heartbeat of a TTL check."""
        body = {"Status": status, "Output": output}
        await self._call("PUT", f"/v1/agent/check/update/{_path(check_id)}", body=body)

    async def service_health(self, service: str, *, index: int = 0, wait_seconds: float = 300.0) -> Answer:
        """The instances of a service with their checks; with an index once there is something newer, or the wait is
        over."""
        return await self._ask(f"/v1/health/service/{_path(service)}", {}, index, wait_seconds)

    # The catalog

    async def node_name(self) -> str:
        """Of the node whose agent this is."""
        return str((await self._call("GET", "/v1/agent/self")).document["Config"]["NodeName"])

    async def leader(self) -> str:
        """Address of the server that leads; empty while none does."""
        return str((await self._call("GET", "/v1/status/leader")).document)

    async def nodes(self) -> list[Document]:
        """All nodes that the catalog knows."""
        return list((await self._call("GET", "/v1/catalog/nodes")).document)

    async def node_services(self, node: str) -> dict[str, Document]:
        """What the catalog knows of a node's services, by id; nothing for a node that is gone."""
        found = (await self._call("GET", f"/v1/catalog/node/{_path(node)}")).document
        return dict((found or {}).get("Services") or {})

    async def node_checks(self, node: str) -> dict[str, Document]:
        """What the catalog knows of a node's checks, by id."""
        found = (await self._call("GET", f"/v1/health/node/{_path(node)}")).document
        return {one["CheckID"]: one for one in found}

    async def forget_service(self, node: str, service_id: str) -> None:
        """Take it out of the catalog, for an agent that does not answer. An agent that lives puts back what it has."""
        await self._call("PUT", "/v1/catalog/deregister", body={"Node": node, "ServiceID": service_id})

    # Questions that wait

    async def watch(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        wait_seconds: float = 300.0,
        on_trouble: Callable[[Exception], None] = lambda error: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncGenerator[Seen, None]:
        """The document at `path` now, and again each time it may have changed, for ever.

        An index that went back (the server was restored, or is another) begins anew. Faults are told to `on_trouble`
        and tried again after a delay that doubles; the last document stays what is known meanwhile.
        """
        known: Any = None
        first = True
        asking = self._answers(path, query or {}, wait_seconds, on_trouble, sleep)
        async with contextlib.aclosing(asking) as answers:
            async for answer, last in answers:
                if first or answer.document != known:
                    first, known = False, answer.document
                    yield Seen(known, certain=0 < last < answer.index)

    async def follow(self, note: Callable[[str], None], wait_seconds: float = 300.0) -> None:
        """For ever: hold a question open, and note why when there is no answer, and nothing when there is one again, or
        when the index went back: what was known of this server may be of the past."""

        def trouble(error: Exception) -> None:
            note(str(error) or type(error).__name__)

        first = True
        asking = self._answers("/v1/catalog/nodes", {}, wait_seconds, trouble, asyncio.sleep)
        async with contextlib.aclosing(asking) as answers:
            async for answer, last in answers:
                if not first and not 0 < last <= answer.index:
                    note("")
                first = False

    async def _answers(
        self,
        path: str,
        query: Mapping[str, str],
        wait_seconds: float,
        on_trouble: Callable[[Exception], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> AsyncGenerator[tuple[Answer, int], None]:
        """Each answer, with the index of the one before it: 0 where that is not known to be of the same history."""
        index, last, failed = 0, 0, 0
        who = f"{socket.gethostname()} {os.getpid()} {path}"
        clock = asyncio.get_running_loop().time
        while True:
            asked_at = clock()
            try:
                answer = await self._ask(path, query, index, wait_seconds)
            except (ConsulUnavailable, ConsulRefused) as error:
                on_trouble(error)
                index = last = 0  # who answers next may be another
                await sleep(back_off_seconds(who, failed))
                failed += 1
                continue
            failed = 0
            yield answer, last
            waited = clock() - asked_at >= AT_ONCE_SECONDS
            if answer.index <= 0 or (answer.index == last and not waited):
                await sleep(FIRST_SECONDS)  # it does not block: never ask in a tight loop
            last = answer.index
            index = answer.index if answer.index >= index else 0

    # Keys

    async def get_key(self, key: str) -> Document | None:
        """The key with its value (base64) and indices; None where it is not."""
        try:
            return dict((await self._call("GET", f"/v1/kv/{_path(key)}")).document[0])
        except ConsulRefused as error:
            if error.status != 404:
                raise
            return None

    async def put_key(self, key: str, value: bytes, **query: str) -> bool:
        """With `cas`, `acquire` or `release` False where that is refused."""
        return bool((await self._call("PUT", f"/v1/kv/{_path(key)}", query=query, data=value)).document)

    async def delete_key(self, key: str, **query: str) -> bool:
        return bool((await self._call("DELETE", f"/v1/kv/{_path(key)}", query=query)).document)

    # The wire

    async def _ask(self, path: str, query: Mapping[str, str], index: int, wait_seconds: float) -> Answer:
        if index <= 0:
            return await self._call("GET", path, query=query)
        waiting = {**query, "index": str(index), "wait": f"{max(1, round(wait_seconds * 1000))}ms"}
        limit = wait_seconds * 17 / 16 + BLOCKED_MARGIN_SECONDS
        return await self._call("GET", path, query=waiting, timeout_seconds=limit)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        data: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(total=timeout_seconds or self._timeout_seconds, sock_connect=5.0)
        try:
            async with self._session.request(
                method, f"{self.url}{path}", params=query, json=body, data=data, timeout=timeout
            ) as response:
                if response.status >= 400:
                    message = (await response.text(errors="replace")).strip() or response.reason or ""
                    if response.status in (429, 500, 502, 503, 504) and method == "GET":
                        raise ConsulUnavailable(f"the registry at {self.url} cannot answer: {message}")
                    if "leader" in message:
                        raise ConsulUnavailable(f"the registry at {self.url} cannot write: {message}")
                    raise ConsulRefused(response.status, message)
                document = await response.json(content_type=None) if response.content_type.endswith("json") else None
                return Answer(document, _index(response.headers.get("X-Consul-Index", "0")))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ConsulUnavailable(f"the registry at {self.url} does not answer: {reason}") from error

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            # No limit of connections: blocking queries hold one each for a long time.
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
            self._opened = aiohttp.ClientSession(headers=self._headers, connector=connector)
        return self._opened


def _path(name: str) -> str:
    return quote(name, safe="/:")


def _index(text: str) -> int:
    return int(text) if text.isdigit() else 0
