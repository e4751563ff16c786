"""The generator reports exactly what a server did to it. Each server here is small, real and on loopback."""

import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from coldchain.testing.application.process import running_application
from coldchain.testing.load.accounting import reconcile_records
from coldchain.testing.load.answer import Answer
from coldchain.testing.load.connection import Connection
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.outcome import ErrorKind, Outcome
from coldchain.testing.load.plan import LoadPlan, Target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Version: v1\r\n\r\nok"
UNHEALTHY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nX-Version: v2\r\n\r\n"
HEAD_OF_AN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Instance: i7\r\n\r\nsome"


class Server:
    """Answers as `answer` says: bytes to send, or None when it has dealt with the connection itself."""

    port: int

    def __init__(self, answer: Callable[["Server", str], Awaitable[bytes | None]]) -> None:
        self._answer = answer
        self.seen: list[str] = []
        self.heads: list[str] = []
        self.connections: set[asyncio.StreamWriter] = set()
        self.writer: asyncio.StreamWriter

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if length := re.search(r"Content-Length: (\d+)", head):
                    await reader.readexactly(int(length[1]))
                request_id = found[1] if (found := re.search(r"X-Request-Id: (\S+)", head)) else ""
                self.seen.append(request_id)
                self.heads.append(head)
                self.writer = writer
                answer = await self._answer(self, request_id)
                if answer is not None:
                    writer.write(answer)
                    if "Connection: close" in head:
                        break
        self.connections.discard(writer)
        writer.close()

    def reset(self) -> None:
        """Reset the connection of the request in hand, at once."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(answer: Callable[[Server, str], Awaitable[bytes | None]]) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for writer in list(server.connections):
            writer.transport.abort()
        await until(lambda: not server.connections)
        await listener.wait_closed()


async def well(_: Server, __: str) -> bytes:
    return OK


def plan(port: int, **changes: Any) -> LoadPlan:
    settings: dict[str, Any] = {
        "address": "127.0.0.1",
        "port": port,
        "targets": (Target(host="shop.test"),),
        "rate": 400.0,
        "slow_share": 0.0,
        "timeout_seconds": 5.0,
    }
    return LoadPlan(**settings | changes)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def number(request_id: str) -> int:
    return int(request_id.partition("-")[2])


def failed(generator: Generator) -> list[Outcome]:
    return [outcome for outcome in generator.outcomes if outcome.failed]


async def run(server_port: int, requests: int, **changes: Any) -> Generator:
    generator = Generator(plan(server_port, **changes))
    async with generator:
        await until(lambda: generator.counts.sent >= requests)
    counts = generator.counts
    assert counts.in_flight == 0
    assert counts.sent == counts.answered + counts.failed == len({outcome.id for outcome in generator.outcomes})
    return generator


async def test_every_request_arrives_once_and_is_answered() -> None:
    async with serving(well) as server:
        generator = await run(server.port, 200)
    report = generator.report()
    assert report.total.failed == 0
    assert sorted(server.seen) == sorted(outcome.id for outcome in generator.outcomes)
    assert all(60 < group.requests < 140 for group in report.total.by_method.values())
    assert all(60 < group.requests < 140 for group in report.total.by_mode.values())
    assert report.total.by_version.keys() == {"v1"}
    assert sum("Connection: close" in head for head in server.heads) == report.total.by_mode["new"].requests
    assert all(outcome.mode == "kept_alive" for outcome in generator.outcomes if outcome.reused)
    assert sum(outcome.reused for outcome in generator.outcomes) > 50


async def test_targets_and_slow_requests_by_their_shares() -> None:
    targets = (Target(host="a.test", path="/x?y=1", weight=3), Target(host="b.test", weight=1))
    async with serving(well) as server:
        generator = await run(server.port, 200, targets=targets, slow_share=0.5, slow_seconds=0.25)
    hosts = Counter(outcome.host for outcome in generator.outcomes)
    assert 120 < hosts["a.test"] < 180
    assert {outcome.path for outcome in generator.outcomes} == {"/x?y=1", "/x?y=1&ms=250", "/", "/?ms=250"}
    assert all(("ms=250" in outcome.path) == (outcome.service_seconds == 0.25) for outcome in generator.outcomes)
    assert {head.split("\r\n")[1] for head in server.heads} == {"Host: a.test", "Host: b.test"}


async def test_an_unhealthy_rollout_is_reported_in_its_step() -> None:
    unhealthy: list[str] = []
    rolling = False

    async def answer(_: Server, request_id: str) -> bytes:
        if rolling:
            unhealthy.append(request_id)
        return UNHEALTHY if rolling else OK

    async with serving(answer) as server:
        generator = Generator(plan(server.port))
        async with generator:
            generator.step("before")
            await until(lambda: generator.counts.sent >= 50 and generator.counts.in_flight == 0)
            generator.step("rollout")
            rolling = True
            await until(lambda: len(unhealthy) >= 30)
            rolling = False
            await until(lambda: generator.counts.in_flight == 0)
            generator.step("rollout")
            await until(lambda: generator.counts.sent >= 150)
    report = generator.report()
    assert [step.name for step in report.steps] == ["load", "before", "rollout", "rollout (2)"]
    assert [step.failed for step in report.steps if step.name != "rollout"] == [0, 0, 0]
    assert report.steps[2].failed == report.total.failed == len(unhealthy)
    assert report.total.failed_by_kind == {"503": len(unhealthy)}
    assert report.steps[2].by_version["v2"].failed == len(unhealthy)
    assert report.total.by_method["POST"].failed + report.total.by_method["GET"].failed == len(unhealthy)
    assert [failure.id for failure in report.failures] == [each.id for each in failed(generator)][:20]
    assert sum(step.requests for step in report.steps) == report.sent
    assert sum(step.seconds for step in report.steps) == pytest.approx(report.total.seconds, abs=0.01)


async def test_a_refused_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        generator = await run(taken.getsockname()[1], 40)
    assert generator.report().total.failed_by_kind == {"refused": generator.counts.sent}


async def test_no_route_is_no_refusal() -> None:
    generator = await run(9, 5, address="255.255.255.255")
    assert generator.report().total.failed_by_kind == {"unreachable": generator.counts.sent}


@pytest.mark.parametrize("begun", [b"", HEAD_OF_AN_ANSWER])
async def test_a_reset_before_and_in_mid_answer(begun: bytes) -> None:
    async def answer(server: Server, request_id: str) -> bytes | None:
        if number(request_id) % 10:
            return OK
        server.writer.write(begun)
        server.reset()
        return None

    async with serving(answer) as server:
        generator = await run(server.port, 100)
    assert {outcome.id for outcome in failed(generator)} == {each for each in server.seen if number(each) % 10 == 0}
    assert generator.report().total.failed_by_kind == {"reset": len(failed(generator))}
    assert max(Counter(server.seen).values()) == 1


@pytest.mark.parametrize(
    ("begun", "detail"), [(b"", "before an answer"), (HEAD_OF_AN_ANSWER, "in an answer of status 200 by instance i7")]
)
async def test_closed_without_a_whole_answer(begun: bytes, detail: str) -> None:
    """RFC 9112, 9.3.1: what happens once the request was written is its outcome, on kept connections too."""

    async def answer(server: Server, request_id: str) -> bytes | None:
        if number(request_id) % 10:
            return OK
        server.writer.write(begun)
        server.writer.close()
        return None

    async with serving(answer) as server:
        generator = await run(server.port, 200)
    failures = failed(generator)
    assert {outcome.id for outcome in failures} == {each for each in server.seen if number(each) % 10 == 0}
    assert {(outcome.error, outcome.detail) for outcome in failures} == {("closed", detail)}
    assert any(outcome.reused for outcome in failures)
    assert max(Counter(server.seen).values()) == 1, "never tried again"


async def test_a_time_out() -> None:
    forever = asyncio.Event()

    async def answer(_: Server, request_id: str) -> bytes:
        if number(request_id) % 10 == 0:
            await forever.wait()
        return OK

    async with serving(answer) as server:
        generator = await run(server.port, 100, timeout_seconds=0.3)
        forever.set()
    failures = failed(generator)
    assert {number(outcome.id) % 10 for outcome in failures} == {0}
    assert generator.report().total.failed_by_kind == {"timeout": len(server.seen) // 10 + (len(server.seen) % 10 > 0)}
    assert all(0.3 <= outcome.latency_seconds < 1.5 for outcome in failures)


async def test_idle_kept_connections_that_the_server_closes_are_replaced() -> None:
    async def answer(server: Server, _: str) -> None:
        server.writer.write(OK)
        server.writer.close()  # without a word: no `Connection: close`

    async with serving(answer) as server:
        generator = await run(server.port, 100, keep_alive_share=1.0)
    assert generator.counts.failed == 0
    assert len(server.seen) == len(set(server.seen)) == generator.counts.sent


def test_a_close_that_the_event_loop_has_not_seen_yet_is_seen_before_writing() -> None:
    loop = asyncio.new_event_loop()
    ends: list[Answer | ErrorKind] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(loop, lambda _: None)
        connection.send_first(
            (socket.AF_INET, listener.getsockname()), b"GET / HTTP/1.1\r\n\r\n", lambda _, end, __: ends.append(end)
        )
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(100)
            accepted.sendall(OK)
            while not ends:
                loop.run_until_complete(asyncio.sleep(0.001))
        assert not connection.send_again(b"GET / HTTP/1.1\r\n\r\n", lambda _, end, __: ends.append(end))
    loop.close()
    assert len(ends) == 1
    assert not connection.open


@pytest.mark.parametrize(
    "wrong",
    [b"nonsense\r\n\r\n", OK + b"more", OK.replace(b"X-Version", b"X-Request-Id")],
    ids=["nonsense", "long", "other"],
)
async def test_what_is_not_the_answer_is_malformed(wrong: bytes) -> None:
    async def answer(_: Server, request_id: str) -> bytes:
        return OK if number(request_id) % 10 else wrong

    async with serving(answer) as server:
        generator = await run(server.port, 60)
    failures = failed(generator)
    assert {number(outcome.id) % 10 for outcome in failures} == {0}
    assert {outcome.error for outcome in failures} == {"malformed"}


async def test_a_server_that_stalls_does_not_slow_the_sending() -> None:
    gate = asyncio.Event()

    async def answer(_: Server, __: str) -> bytes:
        await gate.wait()
        return OK

    async with serving(answer) as server:
        generator = Generator(plan(server.port, rate=200.0))
        began = asyncio.get_running_loop().time()
        async with generator:
            await until(lambda: generator.counts.sent >= 150)
            seconds = asyncio.get_running_loop().time() - began
            assert generator.counts.in_flight == generator.counts.sent
            gate.set()
    assert seconds == pytest.approx(0.75, abs=0.5)
    first = min(generator.outcomes, key=lambda outcome: outcome.id)
    assert first.latency_seconds >= 0.74, "measured from the schedule"
    starts = sorted(outcome.started_at for outcome in generator.outcomes)
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(gap == pytest.approx(1 / 200, abs=1e-4) for gap in gaps)


async def test_requests_go_where_they_are_directed_from_then_on() -> None:
    async def answer(_: Server, __: str) -> bytes:
        return OK

    async with serving(answer) as first, serving(answer) as second:
        generator = Generator(plan(first.port, keep_alive_share=1.0))
        async with generator:
            await until(lambda: len(first.seen) >= 20)
            assert not second.seen
            generator.direct([("127.0.0.1", first.port), ("127.0.0.1", second.port)])
            await until(lambda: len(second.seen) >= 20)
            generator.direct([("127.0.0.1", second.port)])
            sent = generator.counts.sent
            await until(lambda: generator.counts.sent >= sent + 20)
        ordered = sorted(outcome.id for outcome in generator.outcomes)
        assert {*ordered[sent:]}.isdisjoint(first.seen)
        assert {*ordered} == {*first.seen, *second.seen}
    assert not failed(generator)


async def test_the_counts_add_up_at_every_moment() -> None:
    forever = asyncio.Event()

    async def answer(server: Server, request_id: str) -> bytes | None:
        match number(request_id) % 5:
            case 0:
                server.reset()
                return None
            case 1:
                return UNHEALTHY
            case 2:
                await forever.wait()
        return OK

    seen = set()
    async with serving(answer) as server:
        generator = Generator(plan(server.port, timeout_seconds=0.4))
        async with generator:
            while generator.counts.sent < 200:
                await asyncio.sleep(0)
                counts = generator.counts
                assert counts.sent == counts.answered + counts.failed + counts.in_flight
                seen.add(counts.in_flight)
            report = generator.report()
            assert report.sent == report.total.requests + report.in_flight
        forever.set()
    assert len(seen) > 5
    assert generator.report().total.failed_by_kind.keys() == {"reset", "503", "timeout"}
    assert generator.counts.answered > 0


async def test_a_doubled_post_is_found_in_the_records(tmp_path: Path) -> None:
    """A gateway that repeats some POSTs at the application, as one that retries after a time-out would."""
    doubled = set()

    async def forward(server: Server, request_id: str) -> bytes:
        head = server.heads[-1].replace("Connection: close\r\n", "").replace("\r\n", "\r\nConnection: close\r\n", 1)
        body = '{"order": 1}' if head.startswith("POST") else ""
        times = 1
        if body and number(request_id) % 10 == 0:
            doubled.add(request_id)
            times = 2
        for _ in range(times):
            reader, writer = await asyncio.open_connection("127.0.0.1", application.port)
            writer.write((head + body).encode())
            answer = await reader.read()
            writer.close()
        return answer.replace(b"Connection: close\r\n", b"")

    async with running_application(RECORDS=str(tmp_path), INSTANCE="i1") as application, serving(forward) as server:
        generator = await run(server.port, 100, rate=200.0)
    result = reconcile_records(generator.outcomes, tmp_path)
    posts = sum(outcome.method == "POST" for outcome in generator.outcomes)
    assert generator.counts.failed == 0
    assert doubled
    assert result.duplicated == tuple(sorted(doubled))
    assert result.exactly_once == posts - len(doubled)
    assert (result.lost, result.executed_unanswered, result.unknown) == ((), (), ())


async def command(*arguments: str) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coldchain.testing.load", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output, errors


async def test_by_hand() -> None:
    async with serving(well) as server:
        status, output, errors = await command(
            "--url",
            f"http://shop.test:{server.port}/cart?x=1",
            "--connect",
            f"127.0.0.1:{server.port}",
            "--seconds",
            "0.2",
        )
        assert (status, errors) == (0, b"")
        assert json.loads(output)["sent"] == len(server.seen) > 30
        assert "GET /cart?x=1 HTTP/1.1" in "".join(server.heads)
        assert f"Host: shop.test:{server.port}" in server.heads[0]
    status, output, _ = await command("--url", f"http://127.0.0.1:{server.port}/", "--seconds", "0.1")
    assert status == 1
    assert json.loads(output)["failures"][0]["error"] == "refused"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "https://a.test/"), b"http://HOST"),
        (("--url", "http://127.0.0.1/", "--rate", "0"), b"/rate: must be above 0"),
        (("--url", "http://no-such-host.invalid/", "--seconds", "0"), b"No address for no-such-host.invalid"),
    ],
)
async def test_by_hand_in_vain(arguments: tuple[str, ...], words: bytes) -> None:
    status, output, errors = await command(*arguments)
    assert (status, output) == (2, b"")
    assert words in errors
