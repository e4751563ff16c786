"""The test application does what its environment and its requests say: what every other test relies on."""

import asyncio
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.application.build import build_application
from coldchain.testing.application.process import Application, running_application


class Client:
    """One connection, bytes in and answers out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, application: Application) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", application.port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, head_only: bool = False) -> tuple[int, dict[str, str], str]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = 0 if head_only else int(headers.get("Content-Length", 0))
            return int(first.split(" ")[1]), headers, (await self.reader.readexactly(length)).decode()

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], str]:
        self.send(data)
        return await self.answer()

    async def at_end(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read() == b""

    def close(self) -> None:
        self.writer.close()


def request(method: str = "GET", target: str = "/", *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: shop.test", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def status_of(application: Application, target: str) -> int:
    client = await Client.to(application)
    status, _, _ = await client.ask(request("GET", target, "Connection: close"))
    client.close()
    return status


async def ended(application: Application) -> int:
    async with asyncio.timeout(10):
        return await application.process.wait()


def records(folder: Path) -> list[list[str]]:
    return [line.split(" ") for path in sorted(folder.glob("*.log")) for line in path.read_text().splitlines()]


# ---- answers -----------------------------------------------------------------------------------------------------


async def test_says_who_answers() -> None:
    async with running_application(VERSION="v7", INSTANCE="shop-1") as application:
        client = await Client.to(application)
        status, headers, body = await client.ask(request("PUT", "/any/path?x=1", "X-Request-Id: r-1", body=b"hello"))
        assert status == 200
        assert (headers["X-Version"], headers["X-Instance"]) == ("v7", "shop-1")
        assert json.loads(body) == {"version": "v7", "instance": "shop-1", "request_id": "r-1", "method": "PUT"}
        client.close()


async def test_head_has_no_body() -> None:
    async with running_application() as application:
        client = await Client.to(application)
        client.send(request("HEAD") + request("GET"))
        _, headers, _ = await client.answer(head_only=True)
        assert int(headers["Content-Length"]) > 0
        status, _, body = await client.answer()
        assert (status, json.loads(body)["method"]) == (200, "GET")
        client.close()


async def test_keeps_or_closes_the_connection_as_asked() -> None:
    async with running_application() as application:
        client = await Client.to(application)
        for _ in range(3):
            _, headers, _ = await client.ask(request())
            assert "Connection" not in headers
        _, headers, _ = await client.ask(request("GET", "/", "Connection: close"))
        assert headers["Connection"] == "close"
        assert await client.at_end()
        client.close()
        old = await Client.to(application)
        _, headers, _ = await old.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert headers["Connection"] == "keep-alive"
        _, headers, _ = await old.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert await old.at_end()
        old.close()


CHUNKS = b"5\r\nhello\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
PIPELINE = [
    request("POST", "/", "X-Request-Id: a", body=b"x" * 20000),
    request("POST", "/", "X-Request-Id: b", "Transfer-Encoding: chunked") + CHUNKS,
    request("GET", "/?ms=1", "X-Request-Id: c"),
    request("DELETE", "/", "X-Request-Id: d"),
]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(min_value=1, max_value=20600), max_size=8))
def test_requests_are_told_apart_however_they_are_cut(cuts: list[int]) -> None:
    async def scenario() -> list[str]:
        data = b"".join(PIPELINE)
        async with running_application() as application:
            client = await Client.to(application)
            client.writer.transport.set_write_buffer_limits(0)
            at = 0
            for cut in [*sorted(cuts), len(data)]:
                client.send(data[at:cut])
                await client.writer.drain()
                at = max(at, cut)
            answers = [await client.answer() for _ in PIPELINE]
            client.close()
        return [json.loads(body)["request_id"] for _, _, body in answers]

    assert asyncio.run(scenario()) == ["a", "b", "c", "d"]


async def test_expect_continue() -> None:
    async with running_application() as application:
        client = await Client.to(application)
        client.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 5"))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        assert (await client.answer())[0] == 200
        client.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(
    data: bytes, status: int, tmp_path: Path
) -> None:
    async with running_application(RECORDS=str(tmp_path)) as application:
        client = await Client.to(application)
        answer, headers, _ = await client.ask(data)
        assert (answer, headers["Connection"]) == (status, "close")
        assert await client.at_end()
        client.close()
    assert records(tmp_path) == []


async def test_nothing_in_a_request_id_breaks_out_of_answer_or_record(tmp_path: Path) -> None:
    async with running_application(RECORDS=str(tmp_path), INSTANCE="a b/c", VERSION='v"1') as application:
        client = await Client.to(application)
        _, headers, body = await client.ask(request("POST", "/", 'X-Request-Id: a" \\b\x7f'))
        assert json.loads(body)["request_id"] == headers["X-Request-Id"] == "a___b_"
        client.close()
    assert records(tmp_path)[0][:3] == ["a___b_", "v_1", "a_b/c"]
    assert (tmp_path / "a_b_c.log").exists()


# ---- service time and records ------------------------------------------------------------------------------------


async def seconds_of(application: Application, target: str) -> float:
    began = time.monotonic()
    assert await status_of(application, target) == 200
    return time.monotonic() - began


async def test_service_time_of_the_application_and_of_the_request() -> None:
    async with running_application(REQ_MS="200", SLOW_PCT="50", SLOW_MS="400") as application:
        # On a busy machine one or the other takes longer than the application makes it.
        drawn = [await seconds_of(application, "/") for _ in range(6)]
        assert min(drawn[1::2]) >= 0.4 > min(drawn[::2]) >= 0.2
        assert min([await seconds_of(application, "/?ms=0") for _ in range(3)]) < 0.2
        assert await seconds_of(application, "/?a=1&ms=300") >= 0.3
        assert min([await seconds_of(application, "/health") for _ in range(3)]) < 0.2


async def test_a_part_of_the_requests_fails_and_health_does_not() -> None:
    async with running_application(ERROR_PCT="25") as application:
        assert [await status_of(application, "/") for _ in range(8)] == [200, 200, 200, 500] * 2
        assert [await status_of(application, "/health") for _ in range(4)] == [200] * 4


async def test_thousands_of_delayed_answers_come_in_the_order_of_their_deadlines() -> None:
    """A thousand connections wait at once; each gets its own answer, none before its time."""
    async with running_application() as application:
        clients = [await Client.to(application) for _ in range(1000)]
        began = time.monotonic()

        async def one(number: int, client: Client) -> None:
            wait_ms = 300 + (number * 7919) % 500
            _, _, body = await client.ask(request("GET", f"/?ms={wait_ms}", f"X-Request-Id: {number}"))
            assert time.monotonic() - began >= wait_ms / 1000
            assert json.loads(body)["request_id"] == str(number)
            client.close()

        await asyncio.gather(*(one(number, client) for number, client in enumerate(clients)))


async def test_a_post_is_recorded_when_it_was_executed(tmp_path: Path) -> None:
    async with running_application(RECORDS=str(tmp_path), INSTANCE="i1", VERSION="v1") as application:
        client = await Client.to(application)
        await client.ask(request("GET", "/", "X-Request-Id: read"))
        await client.ask(request("POST", "/"))
        await client.ask(request("POST", "/health", "X-Request-Id: check"))
        assert records(tmp_path) == []
        client.send(request("POST", "/?ms=300", "X-Request-Id: slow"))
        await status_of(application, "/")
        assert records(tmp_path) == [], "not while it is being executed"
        await client.answer()
        (record,) = records(tmp_path)
        assert record[:3] == ["slow", "v1", "i1"]
        assert abs(int(record[3]) / 1000 - time.time()) < 5
        client.close()


async def test_a_caller_that_goes_away_stops_no_work(tmp_path: Path) -> None:
    async with running_application(RECORDS=str(tmp_path)) as application:
        gone = await Client.to(application)
        gone.send(request("POST", "/?ms=200", "X-Request-Id: gone"))
        await status_of(application, "/")
        gone.writer.transport.abort()
        await status_of(application, "/?ms=400")
        assert [record[0] for record in records(tmp_path)] == ["gone"]


async def test_records_survive_sigkill_and_what_was_in_flight_has_none(tmp_path: Path) -> None:
    async with running_application(RECORDS=str(tmp_path)) as application:
        client = await Client.to(application)
        await client.ask(request("POST", "/", "X-Request-Id: done"))
        client.send(request("POST", "/?ms=60000", "X-Request-Id: cut"))
        await status_of(application, "/")
        application.process.kill()
        await ended(application)
        client.close()
    assert [record[0] for record in records(tmp_path)] == ["done"]


# ---- health, start and stop --------------------------------------------------------------------------------------


async def test_health_by_file_and_by_switch(tmp_path: Path) -> None:
    file = tmp_path / "healthy"
    async with running_application(HEALTH=f"file:{file}") as application:
        assert await status_of(application, "/health") == 503
        assert await status_of(application, "/ready") == 200
        file.touch()
        assert await status_of(application, "/health") == 200
        assert await status_of(application, "/control/health?ok=0") == 200
        assert await status_of(application, "/health") == 503
        assert await status_of(application, "/") == 200
        assert await status_of(application, "/control/health?ok=1") == 200
        assert await status_of(application, "/health") == 200
        assert await status_of(application, "/control/health") == 400


async def test_never_healthy() -> None:
    async with running_application(HEALTH="never") as application:
        assert await status_of(application, "/health") == 503
        assert await status_of(application, "/") == 200


async def test_starts_late_and_warms_up() -> None:
    began = time.monotonic()
    async with running_application(START_MS="300", WARM_MS="60000") as application:
        assert time.monotonic() - began >= 0.3
        assert [await status_of(application, path) for path in ("/health", "/ready", "/")] == [503, 503, 200]


async def test_crashes_when_told() -> None:
    async with running_application(CRASH_AFTER_MS="100") as application:
        assert await ended(application) == 1


async def test_term_exit_loses_what_is_in_flight() -> None:
    async with running_application(TERM_MODE="exit") as application:
        client = await Client.to(application)
        client.send(request("GET", "/?ms=60000"))
        await status_of(application, "/")
        application.process.terminate()
        assert await ended(application) == 0
        assert await client.at_end()
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_term_drain_finishes_what_is_in_flight(number: signal.Signals) -> None:
    async with running_application(TERM_MODE="drain") as application:
        idle, busy = await Client.to(application), await Client.to(application)
        await idle.ask(request())
        busy.send(request("POST", "/?ms=400"))
        await status_of(application, "/")
        application.process.send_signal(number)
        assert await idle.at_end()
        with pytest.raises(ConnectionRefusedError):
            await Client.to(application)
        status, headers, _ = await busy.answer()
        assert (status, headers["Connection"]) == (200, "close")
        assert await ended(application) == 0
        idle.close()
        busy.close()


async def test_term_drain_loses_nothing_that_had_arrived() -> None:
    """Requests that the stopped process had not even accepted when TERM came."""
    async with running_application(TERM_MODE="drain") as application:
        kept = await Client.to(application)
        await kept.ask(request())
        application.process.send_signal(signal.SIGSTOP)
        fresh = [await Client.to(application) for _ in range(20)]
        for client in (kept, *fresh):
            client.send(request("POST"))
            await client.writer.drain()
        application.process.terminate()
        application.process.send_signal(signal.SIGCONT)
        for client in (kept, *fresh):
            assert (await client.answer())[0] == 200
            client.close()
        assert await ended(application) == 0


async def test_term_drain_has_a_limit() -> None:
    async with running_application(TERM_MODE="drain", DRAIN_MS="200") as application:
        client = await Client.to(application)
        client.send(request("GET", "/?ms=60000"))
        await status_of(application, "/")
        application.process.terminate()
        assert await ended(application) == 1
        client.close()


async def test_term_lame_serves_on_but_is_not_healthy() -> None:
    async with running_application(TERM_MODE="lame", DRAIN_MS="500") as application:
        client = await Client.to(application)
        assert (await client.ask(request("GET", "/health")))[0] == 200
        application.process.terminate()
        while (await client.ask(request("GET", "/health")))[0] == 200:
            pass
        assert await status_of(application, "/") == 200
        assert await client.at_end()
        assert await ended(application) == 0
        client.close()


async def test_term_ignore() -> None:
    async with running_application(TERM_MODE="ignore") as application:
        application.process.terminate()
        assert await status_of(application, "/?ms=200") == 200
        assert application.process.returncode is None


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM_MODE": "kill"},
        {"HEALTH": "no"},
        {"PORT": "x"},
        {"DRAIN_MS": "-1"},
        {"RECORDS": "/nowhere"},
        {"BIND": "::1"},
    ],
)
async def test_settings_that_make_no_sense_are_named(environment: dict[str, str]) -> None:
    with pytest.raises(Rejected, match=next(iter(environment))):
        async with running_application(**environment):
            pass


async def test_a_port_in_use() -> None:
    async with running_application() as application:
        with pytest.raises(Rejected, match="Address already in use"):
            async with running_application(PORT=str(application.port)):
                pass


# ---- build -------------------------------------------------------------------------------------------------------


def test_two_builds_at_once_make_one_binary(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(build_application, [tmp_path, tmp_path])
    assert first == second
    assert list(tmp_path.iterdir()) == [first]
    built = first.stat().st_mtime_ns
    assert build_application(tmp_path).stat().st_mtime_ns == built


def test_no_compiler_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(Unavailable, match="Install gcc"):
        build_application(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(Rejected, match="does not compile"):
        build_application(tmp_path)
    assert list(tmp_path.iterdir()) == []
