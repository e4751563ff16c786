"""holdings: what instances have of each agent, counted anew only where that has changed."""

from collections.abc import Mapping, Sequence

from coldchain.control.state import State
from coldchain.decisions.placement import Held, held_by
from coldchain.documents.keys import Record
from coldchain.model.instance import Instance


class Holdings:
    """Follows the records: with thousands of instances nearly all agents are as they were at the last pass."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._counted: dict[str, Held] = {}
        state.on_commit(self._committed)

    def with_changes(self, changes: Mapping[str, Instance | None]) -> dict[str, Held]:
        """By agent, once these instances are as said here; None: gone."""
        state = self._state
        for agent in state.instances_on.keys() - self._counted.keys():
            there = state.instances_on[agent]
            self._counted[agent] = held_by((one, state.app_of(one)) for one in there.values())
        changed: set[str] = set()
        for name, after in changes.items():
            before = state.instances.get(name)
            if _has(before) != _has(after):
                changed.update(one.agent for one in (before, after) if one is not None and one.agent is not None)
        return self._counted | {agent: self._held(agent, changes) for agent in changed}

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


def _has(record: Record | None) -> object:
    """What of its agent an instance has."""
    if not isinstance(record, Instance) or record.agent is None:
        return None
    return record.agent, record.live, record.address, record.host_ports
