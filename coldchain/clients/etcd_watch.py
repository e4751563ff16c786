"""The changes of an etcd, in order and each once, over whatever happens to connections and members.

The JSON gateway cannot ask an open watch whether it still lives (over HTTP/1 nothing can be sent once the answer has
begun), and etcd's own sign of life comes every ten minutes. So a watch that was silent is opened anew, at another
member: a connection that is only half open, or a member that hangs, is noticed after that silence.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import aiohttp
import msgspec

from coldchain.clients.etcd import (
    ATTEMPT_SECONDS,
    PAUSE_SECONDS,
    PERMISSION_DENIED,
    STALE_TOKEN,
    Document,
    EndpointTrouble,
    EtcdClient,
    EtcdCompacted,
    EtcdRefused,
    EtcdUnavailable,
    answer_of,
    decoded,
    encoded,
    end_of,
    lines_of,
    raise_error,
    revision_of,
    trouble_of,
)

SILENCE_SECONDS = 5.0


@dataclass(frozen=True)
class EtcdEvent:
    """`value` None: deleted."""

    key: bytes
    value: bytes | None
    revision: int


@dataclass
class _Position:
    """What has been told: everything to before `start`, and of `start` itself the keys of `told`."""

    start: int
    told: set[bytes] = field(default_factory=set)

    def is_new(self, event: EtcdEvent) -> bool:
        if event.revision < self.start or (event.revision == self.start and event.key in self.told):
            return False
        if event.revision > self.start:
            self.start, self.told = event.revision, set()
        self.told.add(event.key)
        return True


async def watch(
    client: EtcdClient, prefix: bytes, after: int, *, silence_seconds: float = SILENCE_SECONDS
) -> AsyncGenerator[EtcdEvent, None]:
    """Every change below the prefix with a revision above `after`. Raises EtcdCompacted, EtcdRefused, and
    EtcdUnavailable when no member opens it for as long as a question may take."""
    position = _Position(after + 1)
    turn = client.endpoints.index(client.in_turn()[0])
    loop = asyncio.get_running_loop()
    opened_at, said, renewed = loop.time(), "", False
    while True:
        endpoint = client.endpoints[turn % len(client.endpoints)]
        turn += 1
        try:
            async with aclosing(_batches(client, endpoint, prefix, position.start, silence_seconds)) as batches:
                async for batch in batches:
                    opened_at, renewed = loop.time(), False
                    for event in batch:
                        if position.is_new(event):
                            yield event
        except EndpointTrouble as trouble:
            said = f"{endpoint}: {trouble}"
        except EtcdRefused as refused:
            # A watch may be refused in the same words whether the token has ended or the user may not. Where it is said
            # that the token is not known, a newer one may be as short-lived, or of a member that has started again.
            stale = any(words in refused.message for words in STALE_TOKEN)
            if not client.takes_tokens or (renewed and not stale):
                raise
            renewed, said = True, f"{endpoint}: {refused}"
            client.forget_token()
        if client.closed:
            raise EtcdUnavailable("the client is closed", heard=False)
        if loop.time() - opened_at > silence_seconds + client.timeout_seconds:
            raise EtcdUnavailable(said, heard=False)
        if turn % len(client.endpoints) == 0:
            await asyncio.sleep(PAUSE_SECONDS)


async def _batches(
    client: EtcdClient, endpoint: str, prefix: bytes, start: int, silence_seconds: float
) -> AsyncGenerator[list[EtcdEvent], None]:
    """What one member tells, first nothing, when it has opened the watch; ends after a silence."""
    question = {"key": encoded(prefix), "range_end": encoded(end_of(prefix)), "start_revision": str(start)}
    content = msgspec.json.encode({"create_request": {**question, "fragment": True}})
    # The whole of it ends by silence, not by time; a connection that is not read from is closed when this ends.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=ATTEMPT_SECONDS, sock_read=None)
    async with AsyncExitStack() as closing:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                token = await client.token(endpoint, timeout)
                request = client.request(endpoint, "/v3/watch", content, token, timeout)
                response = await closing.enter_async_context(request)
                closing.callback(response.close)
                if response.status >= 400:
                    await answer_of(endpoint, response)
                lines = await closing.enter_async_context(aclosing(lines_of(response)))
                created = await _result(endpoint, lines)
        except TimeoutError as error:
            raise trouble_of(error) from error
        if not created.get("created"):
            raise EndpointTrouble(f"the watch began with {created}", heard=False)
        if start > revision_of(created) + 1:
            await _check_not_ahead(client, prefix, start)
        yield []
        while True:
            try:
                async with asyncio.timeout(silence_seconds):
                    result = await _result(endpoint, lines)
            except TimeoutError:
                return
            yield [_event(one) for one in result.get("events", ())]


async def _result(endpoint: str, lines: AsyncGenerator[Document, None]) -> Document:
    """The next thing that a member says of the watch."""
    line = await anext(lines, None)
    if line is None:
        raise EndpointTrouble("the watch ended", heard=False)
    if "error" in line:
        raise_error(endpoint, line)
    result: Document = line.get("result", {})
    if result.get("canceled"):
        compacted = int(result.get("compact_revision", 0))
        if compacted:
            raise EtcdCompacted(compacted)
        raise EtcdRefused(endpoint, PERMISSION_DENIED, str(result.get("cancel_reason") or "the watch was cancelled"))
    return result


async def _check_not_ahead(client: EtcdClient, key: bytes, start: int) -> None:
    """The member may be behind the others; if all of them are behind what the watcher knows, it is another history."""
    present = await client.revision(key)
    if start > present + 1:
        raise EtcdCompacted(present)


def _event(document: Document) -> EtcdEvent:
    """The revision of a deletion is that of the deletion."""
    pair = document["kv"]
    deleted = document.get("type") == "DELETE"
    value = None if deleted else decoded(pair.get("value", ""))
    return EtcdEvent(key=decoded(pair["key"]), value=value, revision=int(pair["mod_revision"]))
