"""What only a network can do to a prober."""

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from msgspec import structs

from coldchain.model.health import Probe, ProbeResult
from coldchain.probes import prober as module
from coldchain.probes.prober import NetworkProber

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Ask = Callable[..., Awaitable[ProbeResult]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Instance:
    """A server on loopback that answers each connection with the same bytes, and keeps what it was sent."""

    def __init__(self, answer: bytes, *, then_close: bool = True, for_ever: bytes = b"") -> None:
        self.answer, self.then_close, self.for_ever = answer, then_close, for_ever
        self.requests: list[bytes] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            while self.for_ever:
                writer.write(self.for_ever)
                await writer.drain()
            if not self.then_close:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.ended.set()


async def ask(
    instance: Instance, path: str = "/", host: str = "127.0.0.1", prober: NetworkProber | None = None
) -> ProbeResult:
    """One probe of a server made for it, with a short time-out."""
    server = await asyncio.start_server(instance.serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    prober = prober or NetworkProber()
    try:
        return await prober.probe(question(port, path, host))
    finally:
        await prober.close()
        server.close()
        if instance.requests:
            await asyncio.wait_for(instance.ended.wait(), 10)


def question(port: int, path: str = "/", host: str = "127.0.0.1", timeout_seconds: float = 0.3) -> Probe:
    return Probe(
        instance_id="i",
        check="health/0",
        protocol="HTTP",
        address=host,
        port=port,
        path=path,
        timeout_seconds=timeout_seconds,
    )


async def test_the_question_is_sent_as_it_was_defined() -> None:
    instance = Instance(OK)
    assert (await ask(instance, "/a%2Fb//c/../d?x=%20&y=@z:1")).outcome == "passed"
    request = instance.requests[0].decode()
    assert request.startswith("GET /a%2Fb//c/../d?x=%20&y=@z:1 HTTP/1.1\r\n")
    assert "User-Agent: coldchain-probe/" in request
    assert "Host: 127.0.0.1:" in request


@pytest.mark.parametrize("path", ["@192.0.2.1/", "x", "", "/\r\nX: y", "/a b"])
async def test_a_path_that_would_lead_elsewhere_is_not_asked(path: str) -> None:
    instance = Instance(OK)
    result = await ask(instance, path)
    assert (result.outcome, instance.requests) == ("unknown", [])
    assert "is not a path" in result.detail


async def test_redirects_are_not_followed() -> None:
    other = Instance(OK)
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/".encode()
    redirect = b"HTTP/1.1 302 Found\r\nLocation: " + address + b"\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    assert (await ask(Instance(redirect))).outcome == "passed"
    server.close()
    assert other.requests == []


async def test_every_question_has_a_connection_of_its_own() -> None:
    """Also where the instance would keep it open: a kept one would hide that nobody accepts any more."""
    connections: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        connections.append(connection)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    prober = NetworkProber()
    results = [await prober.probe(question(port)) for _ in range(3)]
    server.close()
    refused = await prober.probe(question(port))
    await prober.close()
    await asyncio.wait_for(asyncio.gather(*connections), 10)
    assert ([result.outcome for result in results], len(connections)) == (["passed"] * 3, 3)
    assert (refused.outcome, refused.detail) == ("failed", "connection refused")


async def test_the_reason_an_instance_gives_is_kept_in_one_clean_line() -> None:
    body = b"\n\x1b[31mdatabase away\x00\nsecond line" + b"x" * 5000
    result = await ask(Instance(b"HTTP/1.1 503 No\r\nConnection: close\r\n\r\n" + body))
    assert (result.outcome, result.detail) == ("failed", "status 503: [31mdatabase away")


async def test_an_endless_body_is_left_behind() -> None:
    result = await ask(Instance(b"HTTP/1.1 200 OK\r\n\r\n", for_ever=b"x" * 1000))
    assert (result.outcome, result.detail) == ("passed", "status 200")


async def test_a_body_that_stalls_is_no_answer() -> None:
    result = await ask(Instance(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", then_close=False))
    assert (result.outcome, result.detail) == ("failed", "no answer in 0.3 s")
    assert 0.25 < result.seconds < 2


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"", "connection closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", "not an HTTP answer"),
    ],
)
async def test_an_instance_that_speaks_no_http_fails(answer: bytes, detail: str) -> None:
    result = await ask(Instance(answer))
    assert result.outcome == "failed"
    assert result.detail.startswith(detail)


async def test_a_reset_connection_fails() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    prober = NetworkProber()
    result = await prober.probe(question(server.sockets[0].getsockname()[1]))
    await prober.close()
    server.close()
    assert result.outcome == "failed"


async def test_ipv6() -> None:
    instance = Instance(OK)
    assert (await ask(instance, host="::1")).outcome == "passed"
    assert b"Host: [::1]:" in instance.requests[0]


class Silent:
    """A server that accepts and says nothing until its caller goes."""

    def __init__(self) -> None:
        self.accepted, self.ended = asyncio.Event(), asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.set()
        await reader.read()
        writer.close()
        self.ended.set()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    silent = Silent()
    server = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    silent.port = server.sockets[0].getsockname()[1]
    yield silent
    server.close()
    await asyncio.wait_for(silent.ended.wait(), 10)


async def test_without_its_own_reference_the_prober_knows_nothing(silent: Silent) -> None:
    closed = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    away = closed.sockets[0].getsockname()[:2]
    prober = NetworkProber(reference=away)
    reached = await prober.probe(question(silent.port, timeout_seconds=0.05))
    closed.close()
    await closed.wait_closed()
    cut_off = await prober.probe(question(silent.port, timeout_seconds=0.05))
    refused = await prober.probe(question(away[1]))
    await prober.close()
    assert (reached.outcome, cut_off.outcome) == ("failed", "unknown")
    assert cut_off.detail == "no answer in 0.05 s, nor does the prober's own reference"
    assert refused.outcome == "failed", "somebody refused: the network was there"


async def test_a_prober_that_was_held_up_knows_nothing(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LATE_SECONDS", 0.05)
    prober = NetworkProber()
    asking = asyncio.ensure_future(prober.probe(question(silent.port, timeout_seconds=0.05)))
    await silent.accepted.wait()
    time.sleep(0.2)  # noqa: ASYNC251 -- holding the loop up is what is tested
    result = await asking
    await prober.close()
    assert result.outcome == "unknown"
    assert result.detail.startswith("the prober itself was held up for 0.2 s")


async def test_without_descriptors_the_prober_knows_nothing() -> None:
    prober = NetworkProber()
    assert (await prober.probe(question(1))).outcome == "failed"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = len(os.listdir("/proc/self/fd"))
    spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
    try:
        while True:
            try:
                spare.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        result = await prober.probe(question(1))
        connected = await prober.probe(structs.replace(question(1), protocol="TCP"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in spare:
            os.close(descriptor)
    await prober.close()
    assert (result.outcome, connected.outcome) == ("unknown", "unknown")
    assert result.detail == "the prober cannot ask: Too many open files"
    assert len(os.listdir("/proc/self/fd")) == descriptors
