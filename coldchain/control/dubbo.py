"""dubbo: keeps what ZooKeeper says of our providers of Dubbo as their phases ask for, and tells who waits for that."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import TypeVar

import structlog

from coldchain.control.dubbo_qos import QosSwitch
from coldchain.control.state import State
from coldchain.decisions import dubbo_switch as decide
from coldchain.documents.dubbo_rules import service_key
from coldchain.documents.keys import Record
from coldchain.model.dubbo import Announced, Export
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.instance import Instance
from coldchain.model.version import AppRecord
from coldchain.ports.clock import Clock
from coldchain.ports.dubbo_qos import DubboQos
from coldchain.ports.dubbo_registry import DubboRegistry

CALL_SECONDS = 15.0
RETRY_SECONDS = 1.0

OpenRegistry = Callable[[str], DubboRegistry]
"""Of an address as apps name it."""
Connections = Callable[[Instance, decide.Place], int | None]
"""How many connections an instance has open at a place; None where that cannot be seen."""

log = structlog.get_logger(__name__)
T = TypeVar("T")


def unseen(instance: Instance, place: decide.Place) -> int | None:
    """The connections of an instance, where nobody can see them."""
    return None


class _Followed:
    """One registry. `announced`: what was there last; None before the first time, and while it does not answer, for
    what it has is then unknown."""

    def __init__(self, registry: DubboRegistry, qos: Callable[[Callable[[], None]], QosSwitch]) -> None:
        self.registry = registry
        self.last: Announced | None = None
        self.trouble = "it was not read yet"
        self.refused = ""
        self.wake = asyncio.Event()
        self.qos = qos(self.wake.set)
        self.task: asyncio.Task[None] | None = None

    @property
    def announced(self) -> Announced | None:
        return None if self.trouble else self.last


class DubboWatcher:
    """Follows each ZooKeeper that an app or an instance on record names. `changed(app ids)`: who may go on because of
    what was seen."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        changed: Callable[[Collection[str]], None],
        open_registry: OpenRegistry,
        connections: Connections = unseen,
        qos: DubboQos | None = None,
    ) -> None:
        self._state = state
        self._clock = clock
        self._changed = changed
        self._open = open_registry
        self._connections = connections
        self._qos = qos
        self._followed: dict[str, _Followed] = {}
        self._remembered: dict[str, frozenset[Export]] = {}
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Follow the records from now on."""
        self._state.on_commit(self._committed)
        self._wake.set()

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        if any(self._concerns(one) for pair in pairs for one in pair):
            self._wake.set()
            for one in self._followed.values():
                one.wake.set()

    def _concerns(self, record: Record | None) -> bool:
        if isinstance(record, AppRecord):
            version = self._state.wanted(record.app_id)
            return bool(self._followed) or (version is not None and version.app.dubbo is not None)
        if not isinstance(record, Instance):
            return False
        version = self._state.version_of(record.app_id, record.version_id)
        return version is None or version.app.dubbo is not None

    def _registry_of(self, instance: Instance) -> str:
        dubbo = self._state.app_of(instance).dubbo
        return dubbo.registry if dubbo is not None else ""

    def _instances(self, address: str) -> list[Instance]:
        return [one for one in self._state.instances.values() if self._registry_of(one) == address]

    # For the reconciler

    def waits_for(self, instance: Instance) -> str:
        """What its acknowledgement waits for, in words; empty when ZooKeeper says of it what its phase means."""
        dubbo = self._state.app_of(instance).dubbo
        if dubbo is None:
            return ""
        followed = self._followed.get(dubbo.registry)
        announced = followed.announced if followed else None
        if followed is None or announced is None:
            return f"Dubbo's ZooKeeper is not known: {followed.trouble if followed else 'it is not followed yet'}"
        others = [one for one in self._state.instances_of.get(instance.app_id, {}).values() if one.id != instance.id]
        named = [service_key(name) for name in dubbo.interfaces]
        expected = decide.expected(named, self._remembered.get(instance.app_id, ()), others, announced)
        waits_for = decide.waits_for(instance, expected, announced)
        reasons = [waits_for, followed.qos.words(instance), followed.refused] if waits_for else []
        return ": ".join(filter(None, reasons))

    def calls(self, instance: Instance) -> int | None:
        """How many calls of Dubbo it has in flight; None where nobody can say, and where nobody needs to know."""
        if not self._registry_of(instance):
            return 0
        if instance.phase != "closing":
            return None
        return decide.calls({place: self._connections(instance, place) for place in decide.places(instance)})

    def lingers(self, instance: Instance) -> bool:
        """Whether consumers may still know an instance that has stopped."""
        address = self._registry_of(instance)
        if not address:
            return False
        followed = self._followed.get(address)
        return followed is None or followed.last is None or decide.lingers(instance, followed.last)

    # The loops

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                wanted = {app.dubbo.registry for app in self._state.wanted_apps() if app.dubbo is not None}
                wanted |= {address for one in self._state.instances.values() if (address := self._registry_of(one))}
                for address in self._followed.keys() - wanted:
                    await self._end(self._followed.pop(address))
                for address in sorted(wanted - self._followed.keys()):
                    followed = self._followed[address] = _Followed(self._open(address), self._qos_switch)
                    followed.task = asyncio.create_task(self._follow(address, followed))
        finally:
            for followed in self._followed.values():
                await self._end(followed)

    def _qos_switch(self, changed: Callable[[], None]) -> QosSwitch:
        return QosSwitch(self._state, self._clock, self._qos, changed)

    async def _end(self, followed: _Followed) -> None:
        if followed.task is not None:
            followed.task.cancel()
            await asyncio.gather(followed.task, return_exceptions=True)
        await followed.registry.close()

    async def _follow(self, address: str, followed: _Followed) -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._watch(address, followed))
                    group.create_task(self._bring(address, followed))
                    group.create_task(followed.qos.run())
            except Exception as error:
                log.exception("a bug of ours: a ZooKeeper of Dubbo is followed anew", address=address)
                followed.trouble = f"{type(error).__name__}: {error}"
                await self._clock.sleep(RETRY_SECONDS)

    async def _watch(self, address: str, followed: _Followed) -> None:
        def troubled(words: str) -> None:
            if words and not followed.trouble:
                log.warning("Dubbo's ZooKeeper does not answer", error=words)
            followed.trouble = words
            followed.wake.set()
            self._mark(address)

        async with aclosing(followed.registry.watch(troubled)) as watched:
            async for announced in watched:
                followed.last, followed.trouble = announced, ""
                followed.wake.set()
                self._mark(address)

    def _remember(self, address: str, announced: Announced) -> None:
        """For an app of which nothing serves for a while, what its last ones announced."""
        for app_id in {one.app_id for one in self._instances(address)}:
            found = decide.served(self._state.instances_of.get(app_id, {}).values(), announced)
            if found:
                self._remembered[app_id] = found
        for app_id in self._remembered.keys() - self._state.apps.keys():
            del self._remembered[app_id]

    def _mark(self, address: str) -> None:
        self._changed({one.app_id for one in self._instances(address) if one.phase != "serving"})

    async def _bring(self, address: str, followed: _Followed) -> None:
        """Tell ZooKeeper what it does not have as it shall. What was told counts once it is seen there."""
        while True:
            await followed.wake.wait()
            followed.wake.clear()
            if followed.announced is None:
                continue
            self._remember(address, followed.announced)
            instances = self._instances(address)
            in_hand = followed.qos.in_hand(instances, followed.announced)
            steps = decide.steps(instances, followed.announced, in_hand)
            try:
                for one in steps.switch_off:
                    await self._limited(followed.registry.switch_off(one))
                for one in steps.withdraw:
                    await self._limited(followed.registry.withdraw(one))
                # Told before its mark goes: who dies between finds the mark, and tells it again.
                await asyncio.gather(*map(followed.qos.online, decide.back(instances, steps.switch_on)))
                for one in steps.switch_on:
                    await self._limited(followed.registry.switch_on(one))
                followed.refused = ""
            except ColdchainError as error:
                if str(error) != followed.refused:
                    log.warning("Dubbo's ZooKeeper does not take what it is told", error=str(error))
                followed.refused = str(error)
                await self._clock.sleep(RETRY_SECONDS)
                followed.wake.set()

    async def _limited(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call
        except TimeoutError as error:
            raise Unavailable(f"ZooKeeper gave no answer in {CALL_SECONDS:g} s") from error
