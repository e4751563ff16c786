"""One machine, executors that come and go, sweepers, and a scheduler that asks for anything: whatever is cut off
between two steps, nothing is started twice, nothing that is answered for is ended, and in the end nothing is left."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from coldchain.decisions.executor import (
    Begun,
    ExecutorState,
    Happening,
    KillAsked,
    LaunchAsked,
    Listed,
    NotBegun,
    Observed,
    Start,
    decide,
)
from coldchain.decisions.orphan import SWEEPER, Claim, refusal, sweep
from coldchain.model.executor import TaskDescription
from coldchain.model.task import TaskStatus
from coldchain.testing.engine_labs import make_spec

ORPHAN_SECONDS = 30.0
RUNNER_IDS = ("shop.1", "shop.2")
SPECS = {name: make_spec("serves", task_id=name, instance_id=name) for name in RUNNER_IDS}
EXECUTORS = 2
STORIES, STEPS = 500, 60


class Machine:
    """What is on its disk and in its Docker, and the executors that live; each step is one that a crash can follow."""

    def __init__(self) -> None:
        self.now = 0.0
        self.running: set[str] = set()
        self.starts: list[str] = []
        self.claims: dict[str, Claim] = {}
        self.states: dict[str, ExecutorState] = {}
        self.since: dict[str, dict[str, float]] = {}
        self.ongoing: list[tuple[str, Callable[[], Any]]] = []
        self.wanted: dict[str, str] = {}
        self.lives = self.tasks = 0

    def executor(self, number: int) -> str:
        """The living executor of this number; begins one where there is none."""
        living = [name for name in self.states if name.startswith(f"{number}:")]
        if living:
            return living[0]
        self.lives += 1
        name = f"{number}:{self.lives}"
        self.states[name], self.since[name] = ExecutorState(), {}
        return name

    def die(self, number: int) -> None:
        for name in [name for name in self.states if name.startswith(f"{number}:")]:
            del self.states[name]

    def launch(self, number: int, runner_id: str, *, adopts: bool) -> None:
        """The scheduler starts an instance once, and then only takes over."""
        name = self.executor(number)
        if not adopts and runner_id in self.starts + list(self.wanted):
            adopts = True
        self.wanted[runner_id] = name
        self.tasks += 1
        description = TaskDescription(spec=SPECS[runner_id], adopts=adopts)
        self.happen(name, LaunchAsked(task_id=f"m{self.tasks}", description=description))

    def kill(self, number: int, runner_id: str) -> None:
        name = self.executor(number)
        held = self.states[name].of_runner(runner_id)
        if held is not None:
            self.happen(name, KillAsked(task_id=held.task_id, grace_seconds=0.0))
            self.later(name, lambda: self.end(runner_id))

    def happen(self, name: str, happening: Happening) -> None:
        self.states[name], actions = decide(self.states[name], happening, self.now)
        for action in actions:
            if isinstance(action, Start):
                self.later(name, lambda start=action: self.take(name, start))

    def take(self, name: str, start: Start) -> None:
        runner_id = start.description.spec.task_id
        if why := refusal(self.claims.get(runner_id), name, self.states.keys()):
            state = "lost" if start.description.adopts else "failed"
            self.happen(name, NotBegun(task_id=start.task_id, state=state, message=why))
            return
        self.claims[runner_id] = Claim(holder=name)
        self.later(name, lambda: self.begin(name, start))

    def begin(self, name: str, start: Start) -> None:
        runner_id = start.description.spec.task_id
        if not start.description.adopts:
            assert runner_id not in self.starts, "started twice"
            self.starts.append(runner_id)
            self.running.add(runner_id)
        elif runner_id not in self.running:
            self.happen(name, NotBegun(task_id=start.task_id, state="lost", message="it does not run any more"))
            return
        self.happen(name, Begun(task_id=start.task_id))
        self.happen(name, Observed(status=status(runner_id, "running")))

    def end(self, runner_id: str) -> None:
        """By whom ever; all that live hear of it."""
        if runner_id in self.running:
            self.running.discard(runner_id)
            for name in tuple(self.states):
                self.happen(name, Observed(status=status(runner_id, "killed")))

    def look(self, name: str) -> None:
        """A listing, and a sweep of what was listed."""
        state = self.states[name]
        begun = frozenset(task for task, held in state.tasks.items() if held.begun)
        found = [status(one, "running") for one in sorted(self.running)]
        self.happen(name, Listed(statuses=tuple(found), begun_before=begun))
        outcome = sweep(found, self.claims, self.states.keys(), self.since[name], self.now, ORPHAN_SECONDS)
        self.since[name] = outcome.since
        for runner_id in outcome.ended:
            self.later(name, lambda one=runner_id: self.claim_end(name, one))

    def claim_end(self, name: str, runner_id: str) -> None:
        if not refusal(self.claims.get(runner_id), SWEEPER, self.states.keys()):
            self.claims[runner_id] = Claim(holder=SWEEPER)
            self.later(name, lambda: self.sweep_away(runner_id))

    def sweep_away(self, runner_id: str) -> None:
        claim = self.claims[runner_id]
        assert claim.holder not in self.states, "what a living executor answers for was swept"
        assert not any(held.begun for one in self.states.values() if (held := one.of_runner(runner_id)))
        self.end(runner_id)

    def later(self, name: str, work: Callable[[], Any]) -> None:
        self.ongoing.append((name, work))

    def go_on(self, which: int) -> None:
        """One of the steps that are under way; those of executors that died are lost."""
        self.ongoing = [(name, work) for name, work in self.ongoing if name in self.states]
        if self.ongoing:
            _, work = self.ongoing.pop(which % len(self.ongoing))
            work()

    def check(self) -> None:
        for runner_id in RUNNER_IDS:
            answering = [held for one in self.states.values() if (held := one.of_runner(runner_id)) and held.begun]
            assert len(answering) <= 1, "two answer for one"


def status(runner_id: str, state: Any) -> TaskStatus:
    spec = SPECS[runner_id]
    return TaskStatus(
        task_id=runner_id,
        instance_id=spec.instance_id,
        app_id=spec.app_id,
        target=spec.target,
        agent=spec.agent,
        state=state,
        at=0.0,
    )


def step(machine: Machine, chance: random.Random) -> None:
    number, runner_id = chance.randrange(EXECUTORS), chance.choice(RUNNER_IDS)
    match chance.randrange(12):
        case 0 | 1:
            machine.launch(number, runner_id, adopts=chance.random() < 0.7)
        case 2:
            machine.die(number)
        case 3:
            machine.kill(number, runner_id)
        case 4 | 5:
            machine.look(machine.executor(number))
        case 6:
            machine.now += chance.choice([1.0, 20.0, 40.0])
        case _:
            machine.go_on(chance.randrange(6))
    machine.check()


@pytest.mark.parametrize("first", range(0, STORIES, 100))
def test_nothing_is_started_twice_taken_from_who_answers_or_left_over(first: int) -> None:
    for seed in range(first, first + 100):
        tell(seed)


def tell(seed: int) -> None:
    """One story; the number repeats it."""
    machine, chance = Machine(), random.Random(seed)
    for _ in range(STEPS):
        step(machine, chance)
    # From here on nothing is cut off any more: all that was under way is done, and time passes.
    last = machine.executor(0)
    for _ in range(4):
        machine.now += ORPHAN_SECONDS
        machine.look(last)
        while any(name in machine.states for name, _ in machine.ongoing):
            machine.go_on(0)
        machine.check()
    for runner_id in machine.running:
        answering = [one for one in machine.states.values() if one.of_runner(runner_id)]
        assert len(answering) == 1, f"it runs, and nobody answers for it: seed {seed}"
    for state in machine.states.values():
        for held in state.live:
            assert held.runner_id in machine.running, f"answered for, and it does not run: seed {seed}"
