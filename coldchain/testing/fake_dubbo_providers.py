"""Providers and consumers of Dubbo beside a platform in virtual time: who is announced, and who may be called."""

from collections.abc import Iterator

from coldchain.engines.fake import FakeTask
from coldchain.model.dubbo import Announcement, Export
from coldchain.testing.fake_dubbo_qos import FakeDubboQos
from coldchain.testing.fake_dubbo_registry import FakeDubboRegistry
from coldchain.testing.platform import Platform

TICK_SECONDS = 0.02
ANNOUNCES_SECONDS = 0.4
"""From its start until a provider announces its first interface; the second one follows as long after that."""
Place = tuple[str, int]


class FakeDubboProviders:
    """Each task of the engine is a provider that announces `interfaces` of its image, one after the other, and is
    announced for `lingers_seconds` after its end, as one whose session has to expire. Consumers notice what changes
    within `notice_seconds`; `violations` of the platform says where one of them would have met nobody. Each has a QoS
    server at its last port; who is offline by it announces nothing, whatever becomes of his session."""

    def __init__(self, platform: Platform, notice_seconds: float) -> None:
        self._platform = platform
        self._notice_seconds = notice_seconds
        self.registry = platform.dubbo = FakeDubboRegistry(platform.clock)
        self.qos = platform.qos = FakeDubboQos(platform.clock)
        self.interfaces: dict[str, tuple[str, ...]] = {}
        self.usual: tuple[str, ...] = ("shop.Basket", "shop.Prices")
        self.lingers_seconds = 3.0
        self.has_qos = True
        self.as_whole: tuple[bool, ...] = (False,)
        """Whether what they provide is announced interface by interface, or by processes as a whole, or both."""
        self.reannounces = False
        """What was withdrawn comes back while it runs, as when a provider's connection to ZooKeeper breaks; consumers
        then follow configurators."""
        self._began: dict[str, float] = {}
        self._ended: dict[Announcement, float] = {}
        self._called: dict[Place, float] = {}
        self._engine_kill = platform.engine.kill
        platform.engine.kill = self._watched_kill  # type: ignore[method-assign]

    async def run(self) -> None:
        """For ever."""
        while True:
            self._look()
            await self._platform.clock.sleep(TICK_SECONDS)

    def _look(self) -> None:
        now = self._platform.clock.monotonic()
        running = list(self._running())
        self.qos.providers = {self._qos_place(task) for task in running if self.has_qos}
        self.qos.offline_at &= self.qos.providers
        offline = {self._place(task) for task in running if self._qos_place(task) in self.qos.offline_at}
        announced = {one for task in self._running() for one in self._announced_by(task, now)}
        for one in announced:
            self._ended.pop(one, None)
        for one in self.registry.providers - announced:  # withdrawn ones have gone before
            if one.place not in offline:
                self._ended.setdefault(one, now)
        self._ended = {one: at for one, at in self._ended.items() if now - at < self.lingers_seconds}
        found = announced | self._ended.keys()
        if self.reannounces:
            self.registry.withdrawn -= announced
        if found - self.registry.withdrawn != self.registry.providers:
            self.registry.announce(found)
        serving = {self._place(task) for task in self._running()}
        for place in self.callable():
            self._called[place] = now
            if place not in serving:
                self._platform.violations.append(f"consumers call {place}, where nobody is any more")

    def callable(self) -> set[Place]:
        """Where consumers send calls. Not all of them follow configurators, but none needs another announcement."""
        off = {(one.export, one.place) for one in self.registry.switched_off} if self.reannounces else set()
        return {one.place for one in self.registry.providers if one.process or (one.export, one.place) not in off}

    def _running(self) -> Iterator[FakeTask]:
        for task in self._platform.engine.held.values():
            if task.status.state in ("running", "killing") and task.status.address and task.status.ports:
                yield task

    def _place(self, task: FakeTask) -> Place:
        return task.status.address or "", task.status.ports[0]

    def _qos_place(self, task: FakeTask) -> Place:
        return task.status.address or "", task.status.ports[-1]

    def _announced_by(self, task: FakeTask, now: float) -> Iterator[Announcement]:
        began = self._began.setdefault(task.spec.task_id, now)
        host, port = self._place(task)
        if self._qos_place(task) in self.qos.offline_at:
            return
        names = self.interfaces.get(task.spec.image or "", self.usual)
        for position, name in enumerate(names, start=1):
            for whole in self.as_whole:  # after all that it announces one by one
                if now - began >= (position + whole * len(names)) * ANNOUNCES_SECONDS:
                    process = "shop" if whole else ""
                    began_at = "" if whole else str(began)
                    export = Export(interface=name)
                    yield Announcement(export=export, host=host, port=port, started=began_at, process=process)

    async def _watched_kill(self, task_id: str, grace_seconds: float) -> None:
        task = self._platform.engine.held.get(task_id)
        if task is not None and task.status.state == "running" and task.status.ports:
            since = self._platform.clock.monotonic() - self._called.get(self._place(task), -1e9)
            if since < self._notice_seconds:
                self._platform.violations.append(f"{task_id} killed {since:.2f} s after consumers could call it")
        await self._engine_kill(task_id, grace_seconds)
