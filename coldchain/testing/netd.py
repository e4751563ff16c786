"""netd for tests: a process of its own that can be killed, with all that is real but the address book.

`python -m coldchain.testing.netd STORE NODE ADDRESS FOLDER DRIVER-SOCKET DOCKER-SOCKET POOL…` runs it, where POOL is
NAME=CIDR.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.clients.docker import DockerClient
from coldchain.control.clock import SystemClock
from coldchain.main.log import open_log
from coldchain.main.netd import JOURNAL, PATIENCE_SECONDS, STATUS_SOCKET, Parts, run_netd
from coldchain.main.netd_settings import NetdSettings
from coldchain.main.stores import EtcdAccess, open_etcd
from coldchain.model.pool import Pool
from coldchain.network.docker_networks import EngineNetworks
from coldchain.network.journal import FileJournal
from coldchain.network.links import NetlinkLinks
from coldchain.testing.fake_address_book import FakeAddressBook

START_SECONDS = 30.0


class NetdProcess:
    """netd of `node`. It dies with the process that started it; what it made outlives it."""

    def __init__(
        self, store: str, node: str, address: str, folder: Path, driver: Path, docker: Path, pools: Mapping[str, str]
    ) -> None:
        self.status_socket = folder / STATUS_SOCKET
        self.log = folder / "netd.log"
        given = [f"{name}={cidr}" for name, cidr in pools.items()]
        self._words = [store, node, address, str(folder), str(driver), str(docker), *given]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once Docker is answered."""
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "coldchain.testing.netd", *self._words]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await self.status()
                return
            except aiohttp.ClientError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"netd does not answer: {self.log.read_text()[-3000:]}") from None
                await asyncio.sleep(0.02)  # a socket appears without notice

    @property
    def running(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self._process.wait, START_SECONDS)
        self._process = None
        return status

    def descriptors(self) -> int:
        """How many it has open."""
        assert self._process is not None
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    async def status(self) -> dict[str, Any]:
        async with self._get("status") as answer:
            return dict(await answer.json())

    async def metrics(self) -> str:
        async with self._get("metrics") as answer:
            return await answer.text()

    @contextlib.asynccontextmanager
    async def _get(self, name: str) -> AsyncIterator[aiohttp.ClientResponse]:
        connector = aiohttp.UnixConnector(str(self.status_socket))
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://netd/{name}") as answer:
            yield answer


async def _run(words: Sequence[str]) -> int:
    store_address, node, address, folder, driver, docker, *given = words
    settings = NetdSettings(
        store=store_address, node=node, address=address, state=Path(folder), socket=Path(driver), docker=docker
    )
    pools = [Pool(name=name, cidr=cidr) for name, _, cidr in (one.partition("=") for one in given)]
    async with contextlib.AsyncExitStack() as closing:
        journal = FileJournal(settings.state / JOURNAL)
        closing.callback(journal.close)
        store = open_etcd(store_address, EtcdAccess())
        closing.push_async_callback(store.close)
        client = DockerClient(docker, timeout_seconds=PATIENCE_SECONDS)
        closing.push_async_callback(client.close)
        parts = Parts(
            store=store,
            journal=journal,
            links=NetlinkLinks(),
            docker=EngineNetworks(client),
            book=FakeAddressBook(pools, journal),
            clock=SystemClock(),
        )
        return await run_netd(settings, parts)


if __name__ == "__main__":
    open_log()
    sys.exit(asyncio.run(_run(sys.argv[1:])))
