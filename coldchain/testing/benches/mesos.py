"""mesos: how fast engine mesos launches tasks, against a bare scheduler that accepts offers and does nothing else.

`launch_rate_ratio`: tasks launched per second, from the first order until the last is told to run, by engine mesos with
its records in SQLite, over those of a bare scheduler; same master, agents, client, executor and tasks, in turns; the
worse of 2 agents and of 200 simulated ones. Beside it the same with the records in etcd, and of a whole controller that
is asked for an app; the CPU time of a launch; and how long single launches take: on an executor that is there, on a new
one, and, in rounds of a second, one after the other and after offers were suppressed.

`agents_growth`: controllers with 1,000 and 5,000 fake agents, two instances on each: CPU time for each agent of placing
and of a pass in which nothing has changed, and memory; the worst ratio of the two sizes.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import math
import random
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import structlog

from coldchain.store.etcd import EtcdStore
from coldchain.store.sqlite import SQLiteStore
from coldchain.testing.bench import Bar, report
from coldchain.testing.etcd import etcd_cluster
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import MasterSettings
from coldchain.testing.mesos_launch_bench import (
    BareSide,
    ControllerSide,
    EngineSide,
    FindMaster,
    Side,
    Turn,
    task_names,
    timed,
)

RATE_LIMIT = 0.8
GROWTH_LIMIT = 1.5
MASTER = MasterSettings(agent_ping_timeout_seconds=15.0, agent_pings_missed_max=5)
"""Nobody may be given up because the machine is busy; a round of offers each 50 ms."""
SIMULATED = 200
TASKS = {2: 200, SIMULATED: 400}
"""By number of agents how many tasks are launched at once."""
BURSTS = {2: 3, SIMULATED: 1}
"""And how often in each turn."""
BACK_SECONDS = 0.2
"""What ended tasks had is offered again by then."""
CONTROLLERS = 3
"""So many pairs for each one with a whole controller, which takes some seconds to end what it runs."""
USUAL = 12
ROUND_SECONDS, HOLD_SECONDS = 1.0, 1.0
SIZES = (1000, 5000)
PATIENCE_SECONDS = 120.0

Turns = dict[str, list[Turn]]


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def bare_and_sqlite(lab: MesosLab) -> AsyncIterator[tuple[BareSide, EngineSide]]:
    """The two that are compared."""
    with tempfile.TemporaryDirectory(prefix="coldchain-bench-") as folder:
        store = SQLiteStore(Path(folder) / "store.sqlite")
        try:
            yield BareSide(master_of(lab)), EngineSide("sqlite", master_of(lab), store)
        finally:
            await store.close()


@contextlib.asynccontextmanager
async def others(lab: MesosLab) -> AsyncIterator[tuple[EngineSide, EngineSide]]:
    """What is told beside them: engine mesos with its records in etcd, of three members; and a whole controller."""
    with tempfile.TemporaryDirectory(prefix="coldchain-bench-") as folder, etcd_cluster(3) as etcd:
        await etcd.ready()
        stores = EtcdStore(etcd.client(), "bench"), SQLiteStore(Path(folder) / "store.sqlite")
        try:
            yield (
                EngineSide("etcd", master_of(lab), stores[0]),
                ControllerSide("controller", master_of(lab), stores[1]),
            )
        finally:
            for store in stores:
                await store.close()


def master_of(lab: MesosLab) -> FindMaster:
    async def address() -> str:
        return lab.masters[0].address

    return address


async def bursts(sides: Sequence[Side], agents: Sequence[str], pairs: int) -> Turns:
    """Many tasks at once, by each side in turns."""
    found: Turns = {side.name: [] for side in sides}
    number = TASKS[len(agents)]
    for pair in range(-1, pairs):  # the first starts the executors
        for side in sides if pair % 2 else reversed(sides):
            await side.begin(len(agents))
            turns: list[Turn] = []
            for _ in range(BURSTS[len(agents)] if pair >= 0 else 1):
                turns.append(await timed(side, task_names(number, agents)))
                await side.clear()
                await asyncio.sleep(BACK_SECONDS)
            await side.end()
            turn = mean(turns)
            if pair >= 0:
                found[side.name].append(turn)
            rate, used = number / turn.seconds, turn.cpu_seconds / number * 1000
            say(f"{len(agents)} agents, {pair + 1}: {side.name:10} {rate:6.0f} tasks/s, {used:.2f} ms of CPU each")
    return found


def mean(turns: Sequence[Turn]) -> Turn:
    """Of several as one."""
    return Turn(
        seconds=statistics.mean(one.seconds for one in turns),
        cpu_seconds=statistics.mean(one.cpu_seconds for one in turns),
        since_accept=tuple(one for turn in turns for one in turn.since_accept),
    )


async def singles(sides: Sequence[Side], agents: Sequence[str], pairs: int, *, new: bool) -> Turns:
    """One task after the other, in turns; `new`: each on an executor of its own."""
    found: Turns = {side.name: [] for side in sides}
    for pair in range(pairs):
        for side in sides if pair % 2 else reversed(sides):
            side.executors += new
            await side.begin(len(agents))
            found[side.name].append(await timed(side, task_names(1, agents[pair % 2 :])))
            say(f"a single launch, {side.name}: {found[side.name][-1].since_accept[0] * 1000:.1f} ms")
            await side.clear()
            await side.end()
    return found


async def usual_rounds() -> dict[str, Any]:
    """Single launches where the master offers each second, as by its own settings: one at once after the other, and
    each when no offers come because nothing was wanted for a while."""
    found: dict[str, list[float]] = {"one after the other": [], "after idling": []}
    agents = ["agent-1"]
    async with MesosLab() as lab:
        await lab.start_master(dataclasses.replace(MASTER, offer_interval_seconds=ROUND_SECONDS))
        await lab.start_agent()
        await lab.registered(len(agents))
        async with bare_and_sqlite(lab) as (_, ours):
            ours.settings = {"hold_seconds": HOLD_SECONDS, "look_seconds": 3600.0}
            await ours.begin(len(agents))
            await ours.launch(task_names(1, agents))  # its executor is there from then on
            await ours.clear()
            for some in found.values():
                for _ in range(USUAL):
                    if some is found["after idling"]:
                        await ours.client.suppressed.reach(len(some) + 1)
                        await asyncio.sleep(HOLD_SECONDS * random.random())
                    some.append((await timed(ours, task_names(1, agents))).seconds)
                    await ours.clear()
            await ours.end()
    return {words: spread(some) for words, some in found.items()}


async def few_agents(pairs: int) -> tuple[float, dict[str, Any]]:
    """Two agents in processes of their own."""
    agents = ["agent-1", "agent-2"]
    async with MesosLab() as lab:
        await lab.start_master(MASTER)
        for _ in agents:
            await lab.start_agent()
        await lab.registered(len(agents))
        async with bare_and_sqlite(lab) as (bare, ours):
            async with others(lab) as (etcd, controller):
                bursted = await bursts([bare, ours, etcd], agents, pairs)
                whole = await bursts([bare, controller], agents, max(2, pairs // CONTROLLERS))
            warm = await singles([bare, ours], agents, 2 * pairs, new=False)
            first = await singles([bare, ours], agents, pairs, new=True)
    ratio, told = compare(bursted, TASKS[2])
    _, told["whole_controller"] = compare(whole, TASKS[2])
    told["accept_to_running_ms"] = {
        words: {name: spread([one.since_accept[0] for one in turns]) for name, turns in some.items()}
        for words, some in (("executor there", warm), ("new executor", first))
    }
    told["order_to_running_ms"] = {name: spread([one.seconds for one in turns]) for name, turns in warm.items()}
    return ratio, told


async def many_agents(pairs: int) -> tuple[float, dict[str, Any]]:
    """Two hundred in one process."""
    agents = [f"simulated-{number}" for number in range(1, SIMULATED + 1)]
    async with MesosLab() as lab:
        await lab.start_master(MASTER)
        await lab.start_simulated_agents(SIMULATED)
        await lab.registered(SIMULATED, PATIENCE_SECONDS)
        async with bare_and_sqlite(lab) as sides:
            ratio, told = compare(await bursts(sides, agents, pairs), TASKS[SIMULATED])
    return ratio, told


def compare(turns: Turns, tasks: int) -> tuple[float, dict[str, Any]]:
    """The ratio of the second side to the bare scheduler, the first; and all figures."""
    bare, *ours = turns.items()
    ratios = {name: [its.seconds / one.seconds for its, one in zip(bare[1], some, strict=True)] for name, some in ours}
    told = {
        "tasks": tasks,
        "tasks_per_second": {
            name: round(tasks / statistics.median(one.seconds for one in some)) for name, some in turns.items()
        },
        "cpu_ms_per_task": {
            name: round(statistics.median(one.cpu_seconds for one in some) / tasks * 1000, 3)
            for name, some in turns.items()
        },
        "launch_rate_ratio": {name: round(statistics.median(some), 3) for name, some in ratios.items()},
        "ratios": {name: [round(one, 3) for one in some] for name, some in ratios.items()},
    }
    return statistics.median(ratios[ours[0][0]]), told


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """In ms."""
    ordered = sorted(seconds)
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return {"median": round(statistics.median(ordered) * 1000, 1), "p95": round(p95 * 1000, 1)}


async def sized(agents: int) -> dict[str, float]:
    """What a controller with so many fake agents needs, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "coldchain.testing.agents_bench", str(agents), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the controller of {agents} agents ended with {process.returncode}")
    found: dict[str, float] = json.loads(output)
    say(f"{agents} agents: {found}")
    return found


async def growth(rounds: int) -> tuple[Bar, dict[str, Any]]:
    """The worst ratio of what an agent costs."""
    found: dict[int, dict[str, float]] = {}
    for agents in SIZES:
        some = [await sized(agents) for _ in range(rounds)]
        found[agents] = {name: statistics.median(one[name] for one in some) for name in some[0]}
    few, many = SIZES
    ratios = {name: found[many][name] / many / (found[few][name] / few) for name in found[few]}
    worst = max(value for name, value in ratios.items() if name != "place_s")  # which depends on who else works
    bar = Bar(name="agents_growth", value=worst, unit="x", limit=GROWTH_LIMIT, better="lower", samples=rounds)
    return bar, {
        "fake_agents": {
            number: {name: round(value, 1) for name, value in figures.items()} for number, figures in found.items()
        },
        "growth_of_each": {name: round(value, 2) for name, value in ratios.items()},
    }


async def measure(pairs: int, rounds: int) -> tuple[list[Bar], dict[str, Any]]:
    few_ratio, few = await few_agents(pairs)
    few["order_to_running_in_rounds_of_1_s_ms"] = await usual_rounds()
    many_ratio, many = await many_agents(pairs)
    bar, grown = await growth(rounds)
    rates = {
        "launch_rate_ratio": min(few_ratio, many_ratio),
        "launch_rate_ratio_2_agents": few_ratio,
        f"launch_rate_ratio_{SIMULATED}_agents": many_ratio,
    }
    bars = [
        Bar(name=name, value=value, unit="x", limit=RATE_LIMIT, better="higher", samples=pairs)
        for name, value in rates.items()
    ]
    return [*bars, bar], {"2_agents": few, f"{SIMULATED}_agents": many, **grown}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench mesos", description=__doc__)
    parser.add_argument("--pairs", type=int, default=12, help="of launches, with 2 agents and with 200 (12)")
    parser.add_argument("--rounds", type=int, default=3, help="of the controllers with fake agents (3)")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    return report(*asyncio.run(measure(options.pairs, options.rounds)))


if __name__ == "__main__":
    sys.exit(main())
