"""holdings: what instances have of each agent, counted anew only where that has changed."""

from collections.abc import Mapping, Sequence

from coldchain.control.state import State
from coldchain.decisions.placement import Held, Room, held_by
from coldchain.documents.keys import Record
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer


class Holdings:
    """Follows the records: with thousands of instances nearly all agents are as they were at the last pass."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._counted: dict[str, Held] = {}
        self._room: Room | None = None
        self._moved: set[str] = set()
        state.on_commit(self._committed)

    def room(self, offers: Sequence[Offer], changes: Mapping[str, Instance | None]) -> Room:
        """What these have left, once instances are as said here. It is worth something until the next call."""
        held = self.with_changes(changes)
        if self._room is None or self._room.offers is not offers:
            self._room = Room(offers, held)
            self._moved.clear()
        changed = self._changed(changes)
        self._room.renew(held, self._moved | changed)
        self._moved = changed  # by the next time they are as on record, whatever that is
        return self._room

    def with_changes(self, changes: Mapping[str, Instance | None]) -> dict[str, Held]:
        """By agent, once these instances are as said here; None: gone."""
        state = self._state
        for agent in state.instances_on.keys() - self._counted.keys():
            self._moved.add(agent)
            there = state.instances_on[agent]
            self._counted[agent] = held_by((one, state.app_of(one)) for one in there.values())
        return self._counted | {agent: self._held(agent, changes) for agent in self._changed(changes)}

    def _changed(self, changes: Mapping[str, Instance | None]) -> set[str]:
        """Of which agents something else is held."""
        changed: set[str] = set()
        for name, after in changes.items():
            before = self._state.instances.get(name)
            if _has(before) != _has(after):
                changed.update(one.agent for one in (before, after) if one is not None and one.agent is not None)
        return changed

    def _held(self, agent: str, changes: Mapping[str, Instance | None]) -> Held:
        there = {**self._state.instances_on.get(agent, {}), **changes}
        on_it = [one for one in there.values() if one is not None and one.agent == agent]
        return held_by((one, self._state.app_of(one)) for one in on_it)

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        for before, after in pairs:
            if _has(before) != _has(after):
                for one in (before, after):
                    if isinstance(one, Instance) and one.agent is not None:
                        self._counted.pop(one.agent, None)
                        self._moved.add(one.agent)


def _has(record: Record | None) -> object:
    """What of its agent an instance has."""
    if not isinstance(record, Instance) or record.agent is None:
        return None
    return record.agent, record.live, record.address, record.host_ports
