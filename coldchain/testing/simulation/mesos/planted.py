"""planted: bugs made on purpose in engine mesos and its executor, each of which the lives of a cluster must find."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from coldchain.engines.mesos import engine, launches, listening, statuses
from coldchain.engines.mesos.idling import Idling
from coldchain.engines.mesos.infos import task_info
from coldchain.engines.mesos.keeper import Keeper
from coldchain.engines.mesos.listening import Listening
from coldchain.engines.mesos.offer_book import KnownAgent, OfferBook
from coldchain.engines.mesos.reconciliation import Reconciliation
from coldchain.engines.mesos.resources import Amounts, Pool
from coldchain.model.mesos import MesosTask
from coldchain.model.offer import Offer
from coldchain.testing.simulation.mesos.run import compared
from coldchain.testing.simulation.mesos.schedule import generate
from coldchain.testing.simulation.planting import Swaps, swapped
from coldchain.testing.simulation.run import Result


def planted(name: str) -> AbstractContextManager[None]:
    """The bug of this name is there until the end of the block."""
    return swapped(PLANTED[name]())


def find(name: str, seeds: range) -> Result | None:
    """The first life that shows the bug; None when it is not found."""
    with planted(name):
        for seed in seeds:
            result, _ = compared(generate(seed))
            if result.violations:
                return result
    return None


def _acknowledged_before_it_is_stored() -> Swaps:
    return [(Keeper, "after", lambda self, work: work())]


def _offer_used_twice() -> Swaps:
    real = OfferBook._spend
    used: set[str] = set()

    def spend(self: OfferBook, agent: KnownAgent, role: str, rest: Mapping[str, Pool]) -> None:
        """The first use leaves it held."""
        ids = {one.id for one in agent.offers.values() if one.role == role}
        if ids <= used:
            real(self, agent, role, rest)
        used.update(ids)

    return [(OfferBook, "_spend", spend)]


def _own_tasks_counted_twice() -> Swaps:
    real = OfferBook.capacity

    def capacity(self: OfferBook, used: Mapping[str, Mapping[str, Amounts]], leave_before: float) -> list[Offer]:
        doubled = {
            agent: {role: amounts.plus(msgspec.structs.replace(amounts, ports=())) for role, amounts in of.items()}
            for agent, of in used.items()
        }
        return real(self, doubled, leave_before)

    return [(OfferBook, "capacity", capacity)]


def _successor_starts_anew() -> Swaps:
    def anew(*words: Any, adopts: bool) -> Any:
        return task_info(*words, adopts=False)

    return [(launches, "task_info", anew)]


def _acts_before_reconciliation() -> Swaps:
    async def ended(self: Reconciliation, patience_seconds: float) -> bool:
        return True

    real = engine.MesosEngine.tasks

    async def tasks(self: engine.MesosEngine) -> Sequence[Any]:
        found = await real(self)
        return [one for one in found if self._reconciliation.done or one.terminal]

    return [(Reconciliation, "ended", ended), (engine.MesosEngine, "tasks", tasks)]


def _never_acknowledged() -> Swaps:
    async def acknowledge(self: Listening) -> None:
        while True:
            await self._acknowledgements.get()

    return [(Listening, "acknowledge", acknowledge)]


def _results_forgotten() -> Swaps:
    """The record goes as soon as the task has ended."""
    real = Listening._note

    def note(self: Listening, before: MesosTask, after: MesosTask) -> None:
        real(self, before, after)
        if after.told.terminal and after.begun:
            self.remove(after.task_id)

    return [(Listening, "_note", note)]


def _offers_in_doubt_kept() -> Swaps:
    """What of an answer is lost keeps its agent's offers for ever."""
    return [(Idling, "unsettled", lambda self, offer_ids: None)]


def _unknown_for_ever() -> Swaps:
    return [(listening, "heard_of", lambda status, now, *, settled: statuses.heard_of(status, now))]


def _remains_waited_for() -> Swaps:
    """An executor that is gone is asked to remove what it left, again and again."""
    return [(engine, "CLEAR_SECONDS", 1e9)]


PLANTED: dict[str, Callable[[], Swaps]] = {
    "acknowledged before it is stored": _acknowledged_before_it_is_stored,
    "never acknowledged": _never_acknowledged,
    "offer used twice": _offer_used_twice,
    "own tasks counted twice": _own_tasks_counted_twice,
    "successor starts anew": _successor_starts_anew,
    "acts before reconciliation": _acts_before_reconciliation,
    "results forgotten": _results_forgotten,
    "offers in doubt kept": _offers_in_doubt_kept,
    "unknown for ever": _unknown_for_ever,
    "remains waited for": _remains_waited_for,
}
