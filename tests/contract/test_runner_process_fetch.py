"""Runner process: what a task brings along before it starts."""

import asyncio
import hashlib
import http.server
import io
import pwd
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from coldchain.model.app import Fetch
from coldchain.model.errors import Rejected
from coldchain.runners.process import FetchSettings
from coldchain.testing.process_bench import Bench, ended, make_spec, output


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


class Files(http.server.BaseHTTPRequestHandler):
    content: dict[str, bytes] = {}

    def do_GET(self) -> None:
        if self.path == "/metadata":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest")
            self.end_headers()
            return
        body = self.content.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *words: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def files() -> Iterator[tuple[str, dict[str, bytes]]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Files.content = {}
    yield f"http://127.0.0.1:{server.server_address[1]}", Files.content
    server.shutdown()
    thread.join()
    server.server_close()


def tar(*names: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = 3, 0o755
            archive.addfile(entry, io.BytesIO(b"hi\n"))
    return packed.getvalue()


async def test_fetched_files_are_there_whole_and_the_users(bench: Bench, files: tuple[str, dict[str, bytes]]) -> None:
    address, content = files
    content["/app.tar.gz"], content["/run"] = tar("bin/tool"), b"#!/bin/sh\necho ran\n"
    runner = bench.runner()
    spec = make_spec(
        "./run; cat bin/tool; ls",
        user="nobody",
        fetch=(
            Fetch(uri=f"{address}/app.tar.gz", sha256=hashlib.sha256(content["/app.tar.gz"]).hexdigest()),
            Fetch(uri=f"{address}/run", executable=True),
            Fetch(uri=f"{address}/run?again", dest_file="conf/copy"),
        ),
    )
    content["/run?again"] = b"x"
    known = await ended(runner, spec)
    assert known.state == "finished", known
    assert (await output(runner, spec)).decode().split() == ["ran", "hi", "bin", "conf", "run"]
    nobody = pwd.getpwnam("nobody").pw_uid
    assert {path.stat().st_uid for path in bench.folder(spec).work.rglob("*")} == {nobody}


@pytest.mark.parametrize(
    ("fetch", "reason"),
    [
        ({"uri": "ADDRESS/run", "sha256": "0" * 64}, "not what it should be"),
        ({"uri": "ADDRESS/missing"}, "status 404"),
        ({"uri": "ADDRESS/big"}, "more than 1000000 bytes"),
        ({"uri": "ADDRESS/escape.tar.gz"}, "would leave the folder"),
        ({"uri": "ADDRESS/metadata", "destFile": "x"}, "not an address to fetch from"),
        ({"uri": "ADDRESS/run", "destFile": "../../x"}, "no name of a file"),
        ({"uri": "file:///etc/shadow"}, "not below a folder"),
        ({"uri": "http://127.0.0.1:1/x"}, "cannot fetch"),
    ],
)
async def test_what_cannot_be_fetched_ends_the_start(
    bench: Bench, files: tuple[str, dict[str, bytes]], fetch: dict[str, str], reason: str
) -> None:
    address, content = files
    content |= {"/run": b"x", "/big": b"x" * 2_000_000, "/escape.tar.gz": tar("../../escaped")}
    runner = bench.runner(fetch=FetchSettings(download_bytes_max=1_000_000))
    wanted = Fetch(
        uri=fetch["uri"].replace("ADDRESS", address), sha256=fetch.get("sha256"), dest_file=fetch.get("destFile")
    )
    with pytest.raises(Rejected) as refused:
        await runner.launch(make_spec("true", fetch=(wanted,)))
    assert reason in str(refused.value)
    assert list((bench.root / "tasks").iterdir()) == []


async def test_files_of_the_machine_only_from_folders_that_are_named(bench: Bench) -> None:
    shared = bench.root / "shared"
    shared.mkdir()
    (shared / "data").write_text("given\n")
    (shared / "link").symlink_to("/etc/shadow")
    runner = bench.runner(fetch=FetchSettings(file_folders=(shared,)))
    spec = make_spec("cat data", fetch=(Fetch(uri=f"file://{shared}/data"),))
    await ended(runner, spec)
    assert await output(runner, spec) == b"given\n"
    with pytest.raises(Rejected, match="not below a folder"):
        await runner.launch(make_spec("true", fetch=(Fetch(uri=f"file://{shared}/link"),)))


async def test_a_kill_during_a_fetch_leaves_nothing(bench: Bench) -> None:
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        runner, spec = bench.runner(), make_spec("true", fetch=(Fetch(uri=f"http://127.0.0.1:{port}/x"),))
        launching = asyncio.create_task(runner.launch(spec))
        await asked.wait()
        await runner.kill(spec.task_id, 5.0)
        with pytest.raises(Rejected, match="stopped before it was started"):
            await launching
    assert list((bench.root / "tasks").iterdir()) == []
