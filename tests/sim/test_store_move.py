"""A migration between stores that is cut short at any of its writes: never two stores of use, and never none for
good."""

from collections.abc import Sequence

import pytest

from coldchain.control.controller import Controller
from coldchain.control.store_move import Moved, check_usable, move
from coldchain.documents import keys
from coldchain.model.errors import ColdchainError, Conflict, Unavailable
from coldchain.ports.store import ABSENT, Change, Guard, LostUpdate
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.faulty_store import Fault, FaultyStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

CONTENT = {f"app/{number:03}": bytes(10 * number) for number in range(250)} | {"large": bytes(600_000)}
WRITES = 7
"""Of a whole migration: two marks, four portions of keys, the mark that goes."""


class Killed(BaseException):
    """The process is gone."""


class Bench:
    """Two stores; all writes to both are numbered together, and `strike(number)` says what befalls one."""

    def __init__(self) -> None:
        self.source, self.target = FaultyStore(MemoryStore()), FaultyStore(MemoryStore())
        self.writes = 0
        self.at, self.fault, self.kills = 0, "", False
        self.source.fault = self.target.fault = self._fault
        self.told: list[tuple[int, int]] = []
        self.holders: list[str] = []

    def _fault(self, number: int, changes: Sequence[Change]) -> Fault | None:
        self.writes += 1
        if self.writes != self.at:
            return None
        if self.fault == "killed before":
            raise Killed
        return "unavailable" if self.fault == "unavailable" else "lost reply"

    async def fill(self) -> None:
        await self.source.write([Change(key=key, value=value) for key, value in CONTENT.items()])
        self.writes = 0

    async def move(self) -> Moved:
        async def holders() -> Sequence[str]:
            return self.holders

        return await move(
            self.source, "file", self.target, "etcd", holders=holders, progress=lambda *told: self.told.append(told)
        )

    async def check(self) -> None:
        """Of use is at most one, and it has everything."""
        of_use = []
        for store in (self.source, self.target):
            content = {entry.key: entry.value for entry in (await store.list("")).entries}
            try:
                await check_usable(store)
            except Conflict:
                continue
            if content:
                assert content == CONTENT
                of_use.append(store)
        assert len(of_use) <= 1


def test_everything_arrives_and_the_source_is_of_no_use_any_more() -> None:
    async def program() -> None:
        bench = Bench()
        await bench.fill()
        assert await bench.move() == Moved(keys=251, already=False)
        assert bench.writes == WRITES
        assert bench.told[0] == (0, 251)
        assert bench.told[-1] == (251, 251)
        await bench.check()
        await check_usable(bench.target)
        with pytest.raises(Conflict, match=r"the content of this store went to etcd\. Start with that one"):
            await check_usable(bench.source)
        assert (await bench.move()).already
        # And nobody can take the next term in it.
        with pytest.raises(LostUpdate):
            await bench.source.write([], [Guard(key=keys.STORE_MOVE, revision=ABSENT)])

    simulate(program(), SimulatedLoop(1))


@pytest.mark.parametrize("fault", ["unavailable", "lost reply", "killed before"])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
def test_cut_short_at_any_write_it_goes_on_when_done_again(at: int, fault: str) -> None:
    async def program() -> None:
        bench = Bench()
        await bench.fill()
        bench.at, bench.fault = at, fault
        with pytest.raises((Unavailable, Killed)):
            await bench.move()
        await bench.check()
        if fault == "unavailable" and at < WRITES:
            await check_usable(bench.source)  # a failure is taken back
        bench.at = 0
        await bench.move()
        await bench.check()
        await check_usable(bench.target)
        assert len((await bench.target.list("")).entries) == len(CONTENT)

    simulate(program(), SimulatedLoop(1))


def refused(prepare: Sequence[Change], said: str, *, holders: Sequence[str] = (), of_target: bool = True) -> None:
    async def program() -> None:
        bench = Bench()
        await bench.fill()
        if prepare:
            await (bench.target if of_target else bench.source).write(prepare)
        bench.holders = list(holders)
        with pytest.raises(Conflict, match=said):
            await bench.move()
        if of_target:
            await check_usable(bench.source)

    simulate(program(), SimulatedLoop(1))


def test_only_into_an_empty_target() -> None:
    refused([Change(key="app/other", value=b"")], r"etcd is not empty: it has 1 keys, such as app/other")


def test_not_while_somebody_uses_the_source() -> None:
    refused([], r"file is in use: controller 7", holders=["controller 7"])


def test_not_out_of_a_store_that_is_not_whole() -> None:
    async def program() -> None:
        bench = Bench()
        await bench.fill()
        bench.at, bench.fault = 4, "killed before"
        with pytest.raises(Killed):
            await bench.move()
        third = MemoryStore()

        async def nobody() -> Sequence[str]:
            return ()

        for store, name, said in ((bench.target, "etcd", "is not whole"), (bench.source, "file", "went to etcd")):
            with pytest.raises(Conflict, match=said):
                await move(store, name, third, "third", holders=nobody, progress=lambda *told: None)
        assert (await third.list("")).entries == ()

    simulate(program(), SimulatedLoop(1))


def test_a_source_that_is_written_meanwhile_is_seen() -> None:
    async def program() -> None:
        bench = Bench()
        await bench.fill()

        class WrittenBeside(FaultyStore):
            async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
                if self.writes == 2:
                    await bench.source.write([Change(key="app/late", value=b"")])
                return await super().write(changes, guards)

        bench.target = WrittenBeside(MemoryStore())
        with pytest.raises(Conflict, match="written while it was copied"):
            await bench.move()
        await check_usable(bench.source)
        with pytest.raises(ColdchainError, match="not whole"):
            await check_usable(bench.target)

    simulate(program(), SimulatedLoop(1))


def test_who_was_cut_short_and_still_runs_is_shut_out_by_who_does_it_again() -> None:
    async def program() -> None:
        bench = Bench()
        await bench.fill()

        class TakenOver(FaultyStore):
            async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
                if self.writes == 2:
                    mark = await super().get(keys.STORE_MOVE)
                    assert mark is not None
                    await super().write([Change(key=keys.STORE_MOVE, value=mark.value)])
                return await super().write(changes, guards)

        bench.target = TakenOver(MemoryStore())
        with pytest.raises(LostUpdate, match="store/move"):
            await bench.move()
        assert len((await bench.target.list("app/")).entries) == 100

    simulate(program(), SimulatedLoop(1))


def test_no_controller_begins_while_a_store_is_emptied_into_another() -> None:
    async def program() -> None:
        store = MemoryStore()
        clock = SimulatedClock(loop)
        controller = Controller(store, FakeEngine(clock), FakeProber(clock), clock)
        await store.write([Change(key=keys.STORE_MOVE, value=b"whatever")])
        with pytest.raises(LostUpdate, match="store/move"):
            await controller.start()
        assert await store.get(keys.CONTROLLER_TERM) is None

    loop = SimulatedLoop(1)
    simulate(program(), loop)
