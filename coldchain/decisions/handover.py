"""handover: which agent's running tasks go next from executors of another version to the wanted one.

A version of an executor is all that it is made of. What runs is taken over as when an executor is lost, only that here
the old one is told to leave, and not before it is known that the new one starts: by a scout, a task that runs nothing,
beside the old one where its agent has room for both; where it has not, by a scout on another agent.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from coldchain.model.base import Noun

RETRY_SECONDS = 300.0
"""Until an agent is looked at again on which the new executor did not start, or the old one did not leave."""


class Aboard(Noun, frozen=True, kw_only=True):
    """An agent with tasks of executors of another version. `settled`: all of these run, and nothing is being launched
    there. `ready`: an executor of the wanted version lives there. `full`: there was no room for one beside the others.
    `room_after`: there is once those are gone."""

    agent: str
    agent_id: str
    executors: tuple[str, ...]
    settled: bool
    ready: bool = False
    full: bool = False
    room_after: bool = False


class Scout(Noun, frozen=True, kw_only=True):
    """Try whether the new executor starts there."""

    agent: str


class SendAway(Noun, frozen=True, kw_only=True):
    """Have these executors leave; what they started runs on and is taken over."""

    agent: str
    agent_id: str
    executors: tuple[str, ...]


Step: TypeAlias = Scout | SendAway


def next_step(
    aboard: Iterable[Aboard],
    *,
    moving: Collection[str],
    proven: bool,
    refused_until: Mapping[str, float],
    now: float,
) -> Step | None:
    """What to do now; None: nothing, or not yet. `moving`: agents where something waits to be taken over or is tried,
    whatever the reason: one at a time. `proven`: the new executor lives somewhere. `refused_until` by agent: it did not
    go well there, and is left as it is until then."""
    if moving:
        return None
    every = list(aboard)
    chosen = [one for one in every if one.settled and now >= refused_until.get(one.agent, now)]
    chosen.sort(key=lambda one: one.agent)
    for one in chosen:
        if one.ready:
            return SendAway(agent=one.agent, agent_id=one.agent_id, executors=one.executors)
    for one in chosen:
        if not one.full:
            return Scout(agent=one.agent)
    # On full agents nothing can be tried before, and no other may be left on which it can.
    untried = all(one.full for one in every) and not any(until > now for until in refused_until.values())
    for one in chosen:
        if one.room_after and (proven or untried):
            return SendAway(agent=one.agent, agent_id=one.agent_id, executors=one.executors)
    return None
