"""`coldchain-entry` as the first process in the smallest roots, against a server of Consul's API."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.decisions.self_registration import cannot_register
from coldchain.testing.consul import Asker, embedded_registry
from coldchain.testing.small_roots import command_in, make_root

ENTRY = Path(__file__).parents[2] / "register" / "coldchain-entry"
CLIENTS = [("busybox", "nc"), ("debian", "bash"), ("debian", "perl"), ("here", "curl"), ("here", "wget")]
"""In which root, and by which program it speaks HTTP; `here` is this machine's own."""
APP = """
trap 'echo term >>/tmp/log; exit 7' TERM
trap 'echo user >>/tmp/log' USR1
: >/tmp/up
(sleep 0.1 &)
while :; do sleep 0.1 & wait $!; done
"""
WRITTEN = ("log", "up", "well")
"""Below the root's /tmp, by the app and by who looks at it."""
STUBBORN = "trap '' TERM; : >/tmp/up; while :; do sleep 0.1 & wait $!; done"


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {"here": Path("/")}

    def give(kind: str) -> Path:
        if kind not in made:
            made[kind] = make_root(tmp_path_factory.mktemp("root") / kind, kind)
        return made[kind]

    return give


class Entry:
    """One run of it; `said` once it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, ask: Asker, root: Path) -> None:
        self.process, self.ask, self._root = process, ask, root
        self.said = ""

    async def pid(self) -> int:
        """Of the entry itself, as this machine knows it: the child of `unshare`."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (found := children.read_text().split()):
            await asyncio.sleep(0.01)
        return int(found[0])

    async def send(self, number: signal.Signals) -> None:
        os.kill(await self.pid(), number)

    async def until(self, *wanted: str) -> None:
        """Until the statuses of its checks are these."""
        async with asyncio.timeout(20):
            while await self.statuses() != sorted(wanted):
                await asyncio.sleep(0.02)

    async def statuses(self) -> list[str]:
        checks = (await self.ask("GET", "/v1/health/checks/shop")).json
        return sorted("marked" if one["CheckID"].startswith("_service") else one["Status"] for one in checks)

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            _, errors = await self.process.communicate()
        self.said = errors.decode()
        status = self.process.returncode
        assert status is not None
        return status

    async def passes_on(self, number: signal.Signals, word: str) -> None:
        """Until the app has written it. In bash one that comes in the very moment of a heartbeat is lost, but not two:
        it jumps out of the handler of the one into that of the other."""
        await self.up()
        async with asyncio.timeout(20):
            while word not in self.log():
                await self.send(number)
                await asyncio.sleep(0.1)

    async def up(self) -> None:
        """Until the app has set its traps: before that a signal would end it."""
        async with asyncio.timeout(20):
            while not (self._root / "tmp" / "up").exists():
                await asyncio.sleep(0.01)

    def log(self) -> list[str]:
        path = self._root / "tmp" / "log"
        return path.read_text().split() if path.exists() else []


class Lab:
    def __init__(self, roots: Callable[[str], Path], address: str, ask: Asker) -> None:
        self.roots, self.address, self.ask = roots, address, ask
        self._closing = contextlib.AsyncExitStack()

    async def run(self, kind: str, client: str, app: str = APP, **variables: str) -> Entry:
        root = self.roots(kind)
        for name in WRITTEN:
            (root / "tmp" / name).unlink(missing_ok=True)
        entry = str(ENTRY)
        if kind != "here":
            shutil.copy(ENTRY, root / "coldchain-entry")
            entry = "/coldchain-entry"
        environment = {
            "PATH": "/bin:/usr/bin",
            "COLDCHAIN_REGISTRY": self.address,
            "COLDCHAIN_SERVICE": "shop",
            "COLDCHAIN_SERVICE_ID": "shop-1",
            "COLDCHAIN_SERVICE_ADDRESS": "10.1.1.1",
            "COLDCHAIN_SERVICE_PORT": "8080",
            "COLDCHAIN_SERVICE_TAGS": "blue green",
            "COLDCHAIN_APP": "/shop",
            "COLDCHAIN_HEALTH_COMMAND": "[ -e /tmp/well ]",
            "COLDCHAIN_TTL_SECONDS": "3",
            "COLDCHAIN_SETTLE_SECONDS": "1",
            "COLDCHAIN_HTTP": client,
        } | variables
        shell = [] if kind != "here" else ["/bin/bash" if client == "curl" else "/bin/sh"]
        command = [*command_in(root, *shell, entry), "/bin/sh", "-c", app]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
        self._closing.callback(lambda: process.returncode is None and process.kill())
        return Entry(process, self.ask, root)

    def well(self, kind: str, *, well: bool = True) -> None:
        path = self.roots(kind) / "tmp" / "well"
        path.touch() if well else path.unlink(missing_ok=True)

    async def close(self) -> None:
        await self._closing.aclose()


@pytest.fixture
async def lab(roots: Callable[[str], Path]) -> AsyncIterator[Lab]:
    async with embedded_registry() as registry, aiohttp.ClientSession() as session:
        lab = Lab(roots, registry.server.address, Asker(session, registry.server.address))
        try:
            yield lab
        finally:
            await lab.close()
            for name in WRITTEN:
                Path("/tmp", name).unlink(missing_ok=True)


@pytest.mark.parametrize(("kind", "client"), CLIENTS)
async def test_it_registers_says_how_the_app_is_and_leaves_in_order(lab: Lab, kind: str, client: str) -> None:
    entry = await lab.run(kind, client)
    await entry.until("critical")
    lab.well(kind)
    await entry.until("passing")
    [found] = (await lab.ask("GET", "/v1/health/service/shop?passing")).json
    service: dict[str, Any] = found["Service"]
    assert (service["ID"], service["Address"], service["Port"]) == ("shop-1", "10.1.1.1", 8080)
    assert (service["Tags"], service["Meta"]["app"]) == (["blue", "green"], "/shop")
    await entry.passes_on(signal.SIGUSR1, "user")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await entry.send(signal.SIGTERM)
    await entry.until("marked", "passing")
    assert "term" not in entry.log()
    assert await entry.ended() == 7
    assert loop.time() - began > 1.0
    *before, last = entry.log()
    assert (set(before), last) == ({"user"}, "term")
    assert await entry.statuses() == []


@pytest.mark.parametrize(("kind", "client"), [("busybox", ""), ("debian", "")])
async def test_it_finds_a_program_and_who_was_marked_before_is_stopped_at_once(
    lab: Lab, kind: str, client: str
) -> None:
    lab.well(kind)
    entry = await lab.run(kind, client, COLDCHAIN_SETTLE_SECONDS="60", COLDCHAIN_HEALTH_COMMAND="true")
    await entry.until("passing")
    await entry.up()
    await lab.ask("PUT", "/v1/agent/service/maintenance/shop-1?enable=true&reason=draining")
    await entry.send(signal.SIGTERM)
    assert await entry.ended() == 7
    assert await entry.statuses() == []


async def test_what_the_registry_lost_is_registered_again_and_one_that_is_away_stops_nothing(lab: Lab) -> None:
    entry = await lab.run("busybox", "nc", COLDCHAIN_HEALTH_COMMAND="true")
    await entry.until("passing")
    await lab.ask("PUT", "/v1/agent/service/deregister/shop-1")
    await entry.until("passing")
    await entry.up()
    await entry.send(signal.SIGTERM)
    assert await entry.ended() == 7
    # It is asked how it is before each heartbeat: the second time the first one is over.
    variables = {"COLDCHAIN_SETTLE_SECONDS": "0", "COLDCHAIN_HEALTH_COMMAND": "echo asked >>/tmp/log"}
    alone = await lab.run("busybox", "nc", COLDCHAIN_REGISTRY="127.0.0.1:1", **variables)
    await alone.passes_on(signal.SIGUSR1, "user")
    async with asyncio.timeout(20):
        while alone.log().count("asked") < 2:
            await asyncio.sleep(0.02)
    await alone.send(signal.SIGTERM)
    assert await alone.ended() == 7
    assert "the registry at 127.0.0.1:1 does not answer" in alone.said


async def test_after_the_grace_it_kills_and_a_second_signal_waits_no_longer(lab: Lab) -> None:
    entry = await lab.run(
        "debian",
        "bash",
        STUBBORN,
        COLDCHAIN_SETTLE_SECONDS="60",
        COLDCHAIN_GRACE_SECONDS="1",
        COLDCHAIN_HEALTH_COMMAND="true",
    )
    await entry.until("passing")
    await entry.up()
    await entry.send(signal.SIGTERM)
    await entry.until("marked", "passing")
    await entry.send(signal.SIGTERM)
    assert await entry.ended() == 137
    assert "still there 1 s after the signal: killed" in entry.said
    assert await entry.statuses() == []


async def test_killed_it_leaves_a_registration_that_ends_with_its_ttl(lab: Lab) -> None:
    entry = await lab.run("busybox", "nc", COLDCHAIN_HEALTH_COMMAND="true")
    await entry.until("passing")
    entry.process.kill()
    await entry.until("critical")


async def test_it_buries_what_the_app_leaves_behind(lab: Lab) -> None:
    entry = await lab.run("busybox", "nc", COLDCHAIN_HEALTH_COMMAND="true")
    await entry.until("passing")
    await entry.up()
    pid = await entry.pid()
    async with asyncio.timeout(10):
        while any(state == "Z" for state in _states_below(pid)):
            await asyncio.sleep(0.05)
    await entry.send(signal.SIGTERM)
    assert await entry.ended() == 7


async def test_where_there_is_nothing_to_speak_with_it_says_so_and_runs_the_app(lab: Lab) -> None:
    fifo = "exec 4<>/tmp/pipe; trap 'echo term >>/tmp/log; exit 7' TERM; echo up >>/tmp/log"
    root = lab.roots("dash")
    os.mkfifo(root / "tmp" / "pipe")
    entry = await lab.run("dash", "", f"{fifo}; while :; do read line <&4; done")
    async with asyncio.timeout(10):
        while entry.log() != ["up"]:
            await asyncio.sleep(0.02)
    await entry.send(signal.SIGTERM)
    assert await entry.ended() == 7
    assert cannot_register(entry.said.encode())
    assert await entry.statuses() == []


async def test_what_cannot_be_run_is_said(lab: Lab) -> None:
    entry = await lab.run("busybox", "nc", "exit 3", COLDCHAIN_REGISTRY="")
    assert await entry.ended() == 3
    command = command_in(lab.roots("busybox"), "/coldchain-entry", "no-such-program")
    process = await asyncio.create_subprocess_exec(*command, env={"PATH": "/bin"}, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (127, b"coldchain-entry: no such command: no-such-program\n")


def _states_below(pid: int) -> list[str]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0])
    return found
