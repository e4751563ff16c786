"""Calls of Dubbo while connections are cut and closed, and servers crash, stop and come back: what is told of a call is
true afterwards too."""

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest

from coldchain.clients.dubbo import Call, Client, DubboError, Server, Services
from coldchain.testing.simulated_loop import simulate
from coldchain.testing.simulated_network import SimulatedNetwork

HOST, PORT = "10.1.0.1", 20880
LIVES, LIVES_LONG = 40, 2000
CALLERS, CALLS = 5, 40
FAULTS = 25
FAULTS_OF_A_CRASH = ("abort", "sever", "crash", "stop")


class Life:
    """Callers of one address, and what happens to it. `faults`: the kinds that may strike."""

    def __init__(self, seed: int, faults: tuple[str, ...]) -> None:
        self.loop = SimulatedNetwork(seed)
        self.random = self.loop.random
        self.faults = faults
        self.carried_out: Counter[str] = Counter()
        self.outcomes: dict[str, str | DubboError] = {}
        self.violations: list[str] = []

    async def run(self) -> None:
        self.server = await self.fresh_server()
        self.client = Client(HOST, PORT, chance=self.random.random)
        striking = asyncio.create_task(self.strike())
        await asyncio.gather(*(self.caller(number) for number in range(CALLERS)))
        await striking
        await asyncio.sleep(130)  # what is silent is found within twice 60 s
        outcome = await self.one_call("at the end", 10.0)
        if not isinstance(outcome, str):
            self.violations.append(f"no call after the faults had ended: {outcome}")
        await self.client.close()
        await self.server.close()
        await asyncio.sleep(70)
        self.judge()

    async def fresh_server(self) -> Server:
        services = Services()
        services.add("a.B", {"work": self.work})
        server = Server(services)
        await server.start(HOST, PORT)
        return server

    async def work(self, key: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        self.carried_out[key] += 1
        return key

    async def caller(self, number: int) -> None:
        for count in range(CALLS):
            await self.one_call(f"{number}/{count}", self.random.choice((0.1, 1.0, 10.0)))
            await asyncio.sleep(self.random.random() * 0.4)

    async def one_call(self, key: str, patience_seconds: float) -> str | DubboError:
        call = Call(interface="a.B", method="work", arguments=[key, self.random.random() * 0.5])
        began = self.loop.time()
        try:
            outcome: str | DubboError = str((await self.client.call(call, patience_seconds)).value)
        except DubboError as error:
            outcome = error
        if self.loop.time() - began > patience_seconds + 0.001:
            self.violations.append(f"{key} took longer than its {patience_seconds} s")
        self.outcomes[key] = outcome
        return outcome

    async def strike(self) -> None:
        for _ in range(FAULTS):
            await asyncio.sleep(self.random.random() * 2)
            match self.random.choice(self.faults):
                case "abort" if self.loop.connections:
                    self.random.choice(self.loop.connections).abort()
                case "sever" if self.loop.connections:
                    self.random.choice(self.loop.connections).sever()
                case "crash":
                    await self.server.close()
                    await asyncio.sleep(self.random.random())
                    self.server = await self.fresh_server()
                case "stop":
                    await self.server.close(settle_seconds=0.2, drain_seconds=15)
                    self.server = await self.fresh_server()

    def judge(self) -> None:
        for key, outcome in self.outcomes.items():
            times = self.carried_out[key]
            if times > 1:
                self.violations.append(f"{key} was carried out {times} times")
            if isinstance(outcome, str) and (outcome != key or times != 1):
                self.violations.append(f"{key} got {outcome!r}, carried out {times} times")
            if isinstance(outcome, DubboError) and not outcome.heard and times:
                self.violations.append(f"{key} was carried out, and said not to be: {outcome}")


def _live(seeds: Iterable[int], faults: tuple[str, ...]) -> list[Life]:
    lives = []
    for seed in seeds:
        life = Life(seed, faults)
        simulate(life.run(), life.loop)
        assert not life.violations, f"life {seed}: {life.violations[0]}"
        lives.append(life)
    return lives


def _lost(lives: Iterable[Life]) -> list[DubboError]:
    return [one for life in lives for one in life.outcomes.values() if type(one).__name__ == "ConnectionLost"]


def test_what_is_told_of_a_call_is_true() -> None:
    assert _lost(_live(range(LIVES), FAULTS_OF_A_CRASH))


def test_no_call_is_lost_where_servers_only_stop() -> None:
    assert not _lost(_live(range(LIVES), ("stop",)))


@pytest.mark.long
@pytest.mark.timeout(0)
def test_what_is_told_of_a_call_is_true_in_many_lives(first_seed: int) -> None:
    _live(range(first_seed, first_seed + LIVES_LONG), FAULTS_OF_A_CRASH)
