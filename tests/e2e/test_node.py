"""`coldchain node join` and `leave` on machines without Docker, with a real etcd and real BIRDs."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coldchain.control.nodes import Nodes
from coldchain.documents import keys, stored
from coldchain.model.pool import Block, Pool
from coldchain.ports.store import Change, Store
from coldchain.store.etcd import EtcdStore
from coldchain.testing.etcd import EtcdCluster, etcd_cluster
from coldchain.testing.routes_lab import Machine, RoutesLab, routes_lab
from coldchain.testing.sandbox.forwarder import listen, serve

T = TypeVar("T")
PATIENCE_SECONDS = 30.0


class Place:
    """Two machines that reach an etcd, each at its own 127.0.0.1."""

    def __init__(self, lab: RoutesLab, etcd: EtcdCluster) -> None:
        self._etcd = etcd
        lab.segment("one")
        self.machines = [lab.machine(f"h{number}", {"one": f"10.10.3.{number}/24"}) for number in (1, 2)]
        self.port = int(etcd.addresses.rpartition(":")[2])
        listeners = [machine.call(lambda: listen(self.port)) for machine in self.machines]
        threading.Thread(target=serve, args=(listeners,), daemon=True).start()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, machine: Machine, *words: str) -> subprocess.Popen[bytes]:
        """A command on that machine."""
        command = [sys.executable, "-m", "coldchain", "node", *words, machine.name]
        command += ["--store", f"etcd://127.0.0.1:{self.port}", "--state-directory", str(machine.state)]
        process = machine.call(lambda: subprocess.Popen(command, stderr=subprocess.PIPE))
        self.processes.append(process)
        return process

    def join(self, machine: Machine) -> subprocess.Popen[bytes]:
        return self.start(machine, "join", "--address", f"10.10.3.{machine.name[1:]}/24")

    def do(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """With the store."""

        async def program() -> T:
            store = EtcdStore(self._etcd.client(), "coldchain")
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(program())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with etcd_cluster() as etcd, routes_lab(tmp_path) as lab:
        asyncio.run(etcd.ready())
        made = Place(lab, etcd)
        yield made
        for process in made.processes:
            process.kill()
            process.communicate()


def ended(process: subprocess.Popen[bytes]) -> str:
    """What it said; it must have ended well."""
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said.decode()
    return said.decode()


def test_machines_join_outlive_their_programs_and_leave(place: Place) -> None:
    one, two = place.machines
    first, second = place.join(one), place.join(two)
    pool, block = Pool(name="p", cidr="10.200.0.0/16"), Block(pool="p", cidr="10.200.0.0/26", node="h1")
    records = [Change(key=keys.network_key_of(record), value=stored.encode(record)) for record in (pool, block)]
    place.do(lambda store: store.write(records))
    two.until(lambda routes: routes == {"10.200.0.0/26": "10.10.3.1 eth0"})
    nodes = place.do(lambda store: Nodes(store).list())
    assert [(one.name, one.interface, one.containers) for one in nodes] == [
        ("h1", "eth0", False),
        ("h2", "eth0", False),
    ]

    killed = one.process()
    os.kill(killed, signal.SIGKILL)
    one.do(restarted(one, killed))
    one.established("node4-h2")

    first.send_signal(signal.SIGTERM)
    assert "stay as they are" in ended(first)
    assert one.routes() == {"10.200.0.0/26": "unreachable"}
    assert one.sessions() == {"node4-h2": "Established"}

    assert "is no node any more" in ended(place.start(one, "leave"))
    two.until(lambda routes: not routes)
    assert one.routes() == {}
    place.do(lambda store: Nodes(store).remove("h2"))
    assert "is no node any more" in ended(second)
    assert place.do(lambda store: Nodes(store).list()) == []


def test_who_was_removed_waits_without_routes_until_he_may_return(place: Place) -> None:
    one, two = place.machines
    first, _ = place.join(one), place.join(two)
    mine, others = (Block(pool="p", cidr=f"10.200.{number}.0/26", node=f"h{number}") for number in (1, 2))
    records = [
        Change(key=keys.network_key_of(record), value=stored.encode(record))
        for record in (Pool(name="p", cidr="10.200.0.0/16"), mine, others)
    ]
    place.do(lambda store: store.write(records))
    one.until(lambda routes: routes == {mine.cidr: "unreachable", others.cidr: "10.10.3.2 eth0"})
    first.kill()
    first.wait()
    place.do(lambda store: Nodes(store).remove("h1"))
    again = place.join(one)
    one.until(lambda routes: not routes)
    place.do(lambda store: Nodes(store).remove("h1", may_return=True))
    one.until(lambda routes: routes == {others.cidr: "10.10.3.2 eth0"})
    again.send_signal(signal.SIGTERM)
    assert "Node 'h1' was removed from the container network" in ended(again)


async def restarted(machine: Machine, before: int) -> None:
    """Waits until BIRD runs as another process."""
    while machine.process() in (before, 0):
        await asyncio.sleep(0.05)


def test_what_cannot_join_is_told_why(place: Place) -> None:
    one, two = place.machines
    place.join(one)
    place.do(joined)
    for machine, words, said in (
        (two, ("--address", "10.10.3.2"), "is not an address of IPv4 with the length"),
        (two, ("--address", "10.10.3.7/24"), "no interface of this machine has the address 10.10.3.7"),
        (two, ("--address", "10.10.3.1/24", "--interface", "eth0"), "node h1 has this address"),
    ):
        process = place.start(machine, "join", *words)
        _, told = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, said in told.decode()) == (1, True), told.decode()


async def joined(store: Store) -> None:
    """Waits until somebody has."""
    while not await Nodes(store).list():
        await asyncio.sleep(0.05)
