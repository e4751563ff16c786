"""Several registries at once, while a platform moves from one to another, and the Consul agents of the machines."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from coldchain.clients.host_port import host_port
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.registration import KnownService, Registration, Sighting
from coldchain.registry.consul import ConsulRegistry

AGENT_SECONDS = 3.0
"""How long an agent of a machine has for its answer: less than what the whole listing has."""
AT_ONCE = 128
"""Agents that are asked at a time: many that do not answer must not use up the time of the listing."""
SWEEP_EVERY = 10
"""Listings from one look at all nodes of the catalog to the next."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Agents:
    """The Consul agents of the machines. `root`: the registry that they are part of. `opened`: one at HOST:PORT.
    `port`: that of the agent on each machine; None: only those that somebody named for a machine. `sweep_port`: where
    those listen of which only the catalog knows."""

    root: ConsulRegistry
    opened: Callable[[str], ConsulRegistry]
    port: int | None = None
    sweep_port: int


class Registries:
    """Implements `ports.registry.Registry`. `registries`: each is told everything, and acknowledges it; what others
    registered is followed in the first.

    With `agents` an instance is registered at the one of its machine instead of at their root. One that does not answer
    is `unreachable`, and the root stands in for it. `left`: those of which everything is taken away.
    """

    def __init__(
        self,
        registries: Sequence[ConsulRegistry],
        agents: Agents | None = None,
        *,
        left: Sequence[ConsulRegistry] = (),
    ) -> None:
        self._registries = {one.place: one for one in registries}
        self._left = {one.place: one for one in left}
        self._first = registries[0]
        self._access = agents
        self._agents: dict[str, ConsulRegistry] = {}
        self._node_of: dict[str, str] = {}
        """Of the root, and of agents that ever answered, by place; a node with two places is known by the first."""
        self._alias: dict[str, str] = {}
        self._sweep_in = 0
        self._named: set[str] = set()
        """Of the agents that do not answer, those that somebody named since the last listing."""
        self.unreachable: dict[str, str] = {}

    @property
    def stale(self) -> bool:
        return any(place not in self._node_of and place not in self.unreachable for place in self._agents)

    def places(self, agent: str, said: str) -> Sequence[str]:
        access = self._access
        return [
            self._place(access, agent, said) if access and one is access.root else one.place
            for one in self._registries.values()
        ]

    def _place(self, access: Agents, agent: str, said: str) -> str:
        """The root where there is no agent, none that answers, or none that was asked yet who it is."""
        if not agent or not (said or access.port):
            return access.root.place
        place = said or host_port(agent, access.port)
        if place in self._alias:
            return self._alias[place]
        self._open(access, place)
        if place in self.unreachable:
            self._named.add(place)
        return place if place in self._node_of and place not in self.unreachable else access.root.place

    def _open(self, access: Agents, place: str) -> None:
        if place not in self._agents:
            self._agents[place] = access.opened(place)

    async def registrations(self) -> Sequence[Registration]:
        limit, away = asyncio.Semaphore(AT_ONCE), set(self.unreachable)
        if self._access is not None:
            await self._sweep(self._access, limit)
        asked = [one.registrations() for one in self._registries.values()]
        asked += [self._of_left(one) for one in self._left.values()]
        if self._access is not None:
            asked += [self._of_agent(self._access.root, place, limit) for place in list(self._agents)]
        found = [one for each in await asyncio.gather(*asked) for one in each]
        await self._drop((away & self.unreachable.keys() & self._agents.keys()) - {one.place for one in found})
        return found

    async def _drop(self, agents: Collection[str]) -> None:
        """Those that do not answer, have nothing of ours by the catalog, and that nobody names any more."""
        for place in set(agents) - self._named:
            await self._agents.pop(place).close()
            self._node_of.pop(place, None)
            del self.unreachable[place]
        self._named.clear()

    async def _of_left(self, registry: ConsulRegistry) -> Sequence[Registration]:
        try:
            found = await _limited(registry.registrations())
        except ColdchainError as error:  # nobody shall wait for it
            self.unreachable[registry.place] = error.message
            return ()
        self.unreachable.pop(registry.place, None)
        return found

    async def _sweep(self, access: Agents, limit: asyncio.Semaphore) -> None:
        """Find agents that have registrations of ours and no instances any more."""
        self._sweep_in -= 1
        if self._sweep_in > 0:
            return
        root = access.root
        self._node_of[root.place] = await root.node()
        known = set(self._node_of.values())
        nodes = {name: address for name, address in (await root.nodes()).items() if name not in known}

        async def look(name: str) -> Sequence[Registration]:
            async with limit:
                return await root.registrations_of_node(name, "")

        found = await asyncio.gather(*map(look, nodes))
        for (name, address), ours in zip(nodes.items(), found, strict=True):
            if ours:
                place = host_port(address, access.sweep_port)
                self._node_of.setdefault(place, name)
                self._open(access, place)
        self._sweep_in = SWEEP_EVERY

    async def _of_agent(self, root: ConsulRegistry, place: str, limit: asyncio.Semaphore) -> Sequence[Registration]:
        """What it has; while it does not answer, what the catalog knows of it."""
        try:
            async with limit:
                return await _limited(self._ask_agent(place))
        except ColdchainError as error:
            self.unreachable[place] = error.message
            node = self._node_of.get(place)
            return await root.registrations_of_node(node, place) if node else ()

    async def _ask_agent(self, place: str) -> Sequence[Registration]:
        agent = self._agents[place]
        node = await agent.node()
        known = next((one for one, name in self._node_of.items() if name == node and one != place), None)
        if known is not None:  # by another address it is one that is asked already
            del self._agents[place]
            self._alias[place] = known
            self.unreachable.pop(place, None)
            await agent.close()
            return ()
        self._node_of[place] = node
        found = await agent.registrations()
        self.unreachable.pop(place, None)
        return found

    async def register(self, registration: Registration) -> None:
        await self._at(registration.place).register(registration)

    async def deregister(self, registration: Registration) -> None:
        place = registration.place
        if self._access is not None and place in self.unreachable and place in self._node_of:
            await self._access.root.forget(self._node_of[place], registration)
        else:
            await self._at(place).deregister(registration)

    async def maintain(self, registration_id: str, reason: str) -> None:
        """At whichever of them has it: an app registers itself where it was told to. The agents of machines first."""
        asked = (*self._agents.values(), *self._registries.values())
        outcomes = await asyncio.gather(
            *(_limited(one.maintain(registration_id, reason)) for one in asked), return_exceptions=True
        )
        refused = [one for one in outcomes if isinstance(one, BaseException)]
        if len(refused) == len(asked):
            raise next((one for one in refused if not isinstance(one, Rejected)), refused[0])

    def _at(self, place: str) -> ConsulRegistry:
        return self._registries.get(place) or self._left.get(place) or self._agents[place]

    async def services(self) -> Sequence[KnownService]:
        return await self._first.services()

    def watch(self, service: str, on_trouble: Callable[[str], None]) -> AsyncGenerator[Sighting, None]:
        return self._first.watch(service, on_trouble)

    async def follow(self, note: Callable[[str], None]) -> None:
        async with asyncio.TaskGroup() as group:
            for one in self._registries.values():
                group.create_task(one.follow(note))

    async def close(self) -> None:
        async with contextlib.AsyncExitStack() as closing:
            for one in (*self._registries.values(), *self._left.values(), *self._agents.values()):
                closing.push_async_callback(one.close)


async def _limited(call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(AGENT_SECONDS):
            return await call
    except TimeoutError as error:
        raise Unavailable(f"no answer in {AGENT_SECONDS:g} s") from error
