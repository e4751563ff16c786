"""A program beside a task through the API and the command: input, output, errors, sizes, the exit status, the trace."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from coldchain.testing.command_server import SHOP, Server
from coldchain.testing.served_platform import served_platform

APP = {"id": "/x", "instances": 1, "container": {"docker": {"image": "x"}}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server()
    (tmp_path / "shop.json").write_text(json.dumps(SHOP))
    server.done("deploy", str(tmp_path / "shop.json"))
    yield server
    server.close()


def command(server: Server, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"COLDCHAIN_URL": server.platform.url}
    whole = [sys.executable, "-m", "coldchain", "exec", *arguments]
    return subprocess.run(whole, env=environment, input=given, capture_output=True, timeout=30)


def test_a_program_has_our_input_and_output_and_its_exit_status_is_ours(server: Server) -> None:
    done = command(server, "shop", "--", "echo", "one", "--two")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one --two\n", b"")
    data = os.urandom(100_000)
    done = command(server, "shop", "--", "cat", given=data)
    assert (done.returncode, done.stdout) == (0, data)
    assert command(server, "shop", "--", "sh", "-c", "exit 42").returncode == 42
    lost = command(server, "shop", "--", "nothing")
    assert (lost.returncode, lost.stderr) == (127, b"nothing: not found\n")


def test_one_instance_is_chosen_and_others_are_refused(server: Server) -> None:
    name = next(iter(server.platform.controller.state.instances))
    assert command(server, f"shop:{name[:8]}", "--", "echo").returncode == 0
    for wrong, said in (("shop:zz", "Instance 'zz' does not exist in /shop"), ("none", "App '/none' does not exist")):
        refused = command(server, wrong, "--", "echo")
        assert refused.returncode == 1
        assert said in refused.stderr.decode()


def test_with_a_terminal_it_has_the_size_of_ours(server: Server) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLDCHAIN_URL": server.platform.url, "COLUMNS": "91", "LINES": "33"}
    whole = [sys.executable, "-m", "coldchain", "exec", "shop", "--", "busybox", "stty", "size"]
    with subprocess.Popen(whole, env=environment, stdin=theirs, stdout=theirs) as process:
        assert process.wait(30) == 0
    os.close(theirs)
    assert os.read(ours, 100) == b"33 91\r\n"
    os.close(ours)


async def test_who_looks_into_a_task_leaves_a_trace_and_foreign_pages_do_not_get_in() -> None:
    async with served_platform() as platform, ClientSession(platform.url) as session:
        await platform.deployed(session, APP)
        stream = {"Accept": "text/event-stream"}
        async with session.get("/v2/events?event_type=instance_exec_event", headers=stream) as events:
            async with session.ws_connect("/v1/apps/x/exec?argument=echo&argument=hi") as socket:
                told = [message async for message in socket]
            assert [message.type for message in told] == [WSMsgType.BINARY, WSMsgType.TEXT]
            assert (told[0].data, told[1].json()) == (b"\x01hi\n", {"exitStatus": 0})
            while not (line := (await events.content.readline()).decode()).startswith("data: "):
                pass
        traced = json.loads(line.removeprefix("data: "))
        assert (traced["command"], traced["cause"]) == (["echo", "hi"], "asked for by local")
        with pytest.raises(WSServerHandshakeError) as caught:
            await session.ws_connect("/v1/apps/x/exec?argument=echo", headers={"Origin": "http://elsewhere.test"})
        assert caught.value.status == 403


async def test_a_session_ends_with_the_server() -> None:
    async with served_platform() as platform, ClientSession(platform.url) as session:
        await platform.deployed(session, APP)
        async with session.ws_connect("/v1/apps/x/exec?argument=cat") as socket:
            await socket.send_bytes(b"here")
            assert (await socket.receive_bytes()) == b"\x01here"
            await socket.send_str("nothing that means anything")
            await platform.server.stop()
            assert (await socket.receive_json()) == {"exitStatus": None}
