"""agents: what operators may ask of agents: that one is empty, and that it may be used again. Each is one write."""

from coldchain.control.operations import Operations
from coldchain.control.state import State
from coldchain.control.tasks import TaskWatcher
from coldchain.model.agent import AgentDrain
from coldchain.model.errors import NotFound
from coldchain.model.offer import Offer
from coldchain.ports.clock import Clock


class AgentOperations:
    """Callable from any task of the loop. Every error leaves all as it was, but for Unavailable: then nobody knows."""

    def __init__(self, operations: Operations, state: State, tasks: TaskWatcher, clock: Clock) -> None:
        self._operations = operations
        self._state = state
        self._tasks = tasks
        self._clock = clock

    def known(self) -> dict[str, Offer | None]:
        """Every agent that offers something, has an instance on record or is drained; None: it offers nothing."""
        names = {*self._state.instances_on, *self._state.drains}
        return dict.fromkeys(sorted(names)) | {one.agent: one for one in self._tasks.offers}

    async def drain(self, agent: str, caller: str) -> AgentDrain:
        """From now on the agent is to be empty; as it was where that was asked for before. Raises NotFound."""
        async with self._state.lock:
            await self._operations.ready()
            target = self._target(agent)
            asked = self._state.drains.get(agent)
            if asked is None:
                asked = AgentDrain(target=target, agent=agent, since=self._clock.now(), caller=caller)
                await self._state.commit([asked])
            return asked

    async def end_drain(self, agent: str) -> None:
        """It may be used again; who has begun to leave still leaves. Raises NotFound where nobody drains it."""
        async with self._state.lock:
            await self._operations.ready()
            self._target(agent)
            asked = self._state.drains.get(agent)
            if asked is None:
                raise NotFound(f"Agent '{agent}' is not drained", todo="`coldchain agents` shows all.")
            await self._state.commit(remove=[asked])

    def _target(self, agent: str) -> str:
        """Of which target it is."""
        known = self.known()
        if agent not in known:
            raise NotFound(f"Agent '{agent}' does not exist", todo="`coldchain agents` shows all.")
        offer = known[agent]
        if offer is not None:
            return offer.target
        if agent in self._state.drains:
            return self._state.drains[agent].target
        return next(iter(self._state.instances_on[agent].values())).target
