"""interface: follows all that ZooKeeper knows of one interface: who provides it and what operators say of that."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from coldchain.clients.zookeeper import NoNode, ZooKeeper, ZooKeeperError
from coldchain.decisions import dubbo as decide
from coldchain.documents import dubbo_instances, dubbo_rules, dubbo_url
from coldchain.dubbo.nodes import Nodes
from coldchain.model.dubbo import Configurator, DubboUrl, Process, Provided, Provider, RouterRule

T = TypeVar("T")
CONFIGURATORS, ROUTER = ".configurators", ".condition-router"
"""The ends of the names of documents in the configuration center; what stands before is an application or a service."""
UNREADABLE = " that cannot be read"
AGAIN_SECONDS = 1.0


class Interface:
    """`tell` is called at each change, `known` set when its providers have been listed once. `trouble`: what cannot be
    read, or that ZooKeeper does not answer."""

    def __init__(
        self, zookeeper: ZooKeeper, name: str, root: str, services: str, application: str, tell: Callable[[], None]
    ) -> None:
        self._zookeeper = zookeeper
        self._name = name
        self._root = root
        self._services = services
        self._application = application
        self._tell = tell
        self._troubles: dict[str, str] = {}
        self._applications: dict[str, Nodes] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._metadata: dict[tuple[str, str], tuple[Provided, ...]] = {}
        self._listed: tuple[Provider, ...] = ()
        self._configurators: tuple[Configurator, ...] = ()
        self._routers: tuple[RouterRule, ...] = ()
        self._documents = Nodes(zookeeper, f"{root}/config/dubbo", self._ruled, self._noted("rules"), self._means_us)
        self._from_documents: tuple[list[Configurator], list[RouterRule]] = ([], [])
        self._from_processes: tuple[Provider, ...] = ()
        self.known = asyncio.Event()
        self._tasks = [
            asyncio.create_task(one)
            for one in (
                self._urls("providers", dubbo_url.provider, self._note_providers),
                self._urls("configurators", dubbo_url.configurator, self._note_configurators),
                self._urls("routers", dubbo_url.router, self._note_routers),
                self._documents.run(),
                self._mapping(),
            )
        ]

    @property
    def trouble(self) -> str:
        return "; ".join(f"{self._name}: {words}" for words in self._troubles.values())

    @property
    def providers(self) -> tuple[Provider, ...]:
        return decide.merged(self._listed, self._from_processes)

    @property
    def configurators(self) -> list[Configurator]:
        return [*self._configurators, *self._from_documents[0]]

    @property
    def routers(self) -> list[RouterRule]:
        return [*self._routers, *self._from_documents[1]]

    async def close(self) -> None:
        tasks = [*self._tasks, *self._following.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _noted(self, topic: str) -> Callable[[str], None]:
        def note(words: str) -> None:
            if words:
                self._troubles[topic] = words
            else:
                self._troubles.pop(topic, None)

        return note

    async def _urls(
        self, category: str, read: Callable[[DubboUrl], T | None], note: Callable[[tuple[T, ...]], None]
    ) -> None:
        """The children of a category, whose names say all. That the node itself is not there says as little as an empty
        one: nobody has come yet."""
        noted = self._noted(category)
        path = f"{self._root}/{self._name}/{category}"
        async with contextlib.aclosing(self._zookeeper.watch_children(path, noted)) as changes:
            async for names in changes:
                found, wrong = dubbo_url.readable(names or (), read)
                self._noted(f"{category}{UNREADABLE}")("; ".join(wrong))
                note(tuple(found))
                self._tell()

    def _note_providers(self, found: tuple[Provider, ...]) -> None:
        self._listed = found
        self.known.set()

    def _note_configurators(self, found: tuple[Configurator, ...]) -> None:
        self._configurators = found

    def _note_routers(self, found: tuple[RouterRule, ...]) -> None:
        self._routers = found

    def _means_us(self, document: str) -> bool:
        for end in (CONFIGURATORS, ROUTER):
            if document.endswith(end):
                key = document.removesuffix(end)
                return key == self._application or dubbo_rules.service_key(key).interface == self._name
        return False

    def _ruled(self) -> None:
        configurators: list[Configurator] = []
        routers: list[RouterRule] = []
        wrong = []
        for name, data in sorted(self._documents.said.items()):
            try:
                text = data.decode()
                if name.endswith(CONFIGURATORS):
                    configurators += dubbo_rules.configurators(text)
                else:
                    routers += dubbo_rules.router_rules(text)
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        self._noted(f"rules{UNREADABLE}")("; ".join(wrong))
        self._from_documents = configurators, routers
        self._tell()

    # Processes that announce themselves as a whole

    async def _mapping(self) -> None:
        """Which applications provide it: written as one text (3) or as a node each (2.7.5)."""
        named: dict[str, tuple[str, ...]] = {}

        def note(way: str, applications: tuple[str, ...]) -> None:
            named[way] = applications
            self._follow({name for names in named.values() for name in names})

        async def texts() -> None:
            path = f"{self._root}/mapping/{self._name}"
            async with contextlib.aclosing(self._zookeeper.watch_data(path)) as changes:
                async for data in changes:
                    note("text", dubbo_instances.mapping(data or b""))

        async def nodes() -> None:
            path = f"{self._root}/config/mapping/{self._name}"
            async with contextlib.aclosing(self._zookeeper.watch_children(path)) as changes:
                async for names in changes:
                    note("nodes", names or ())

        await asyncio.gather(texts(), nodes())

    def _follow(self, applications: set[str]) -> None:
        for name in self._following.keys() - applications:
            self._following.pop(name).cancel()
            self._applications.pop(name, None)
        for name in applications - self._following.keys():
            woken = asyncio.Event()
            nodes = Nodes(self._zookeeper, f"{self._services}/{name}", woken.set, self._noted(f"processes of {name}"))
            self._applications[name] = nodes
            self._following[name] = asyncio.create_task(_both(nodes.run(), self._read_processes(woken)))
        self._gather()

    async def _read_processes(self, woken: asyncio.Event) -> None:
        while True:
            await woken.wait()
            woken.clear()
            if not await self._read_metadata():
                await asyncio.sleep(AGAIN_SECONDS)
                woken.set()
            self._gather()

    async def _read_metadata(self) -> bool:
        """Of each revision once: it never changes. False where something could not be read."""
        missing = {(one.application, one.revision) for one in self._processes()} - self._metadata.keys()
        whole = True
        for application, revision in sorted(missing):
            noted = self._noted(f"metadata of {application}")
            try:
                node = await self._zookeeper.get(f"{self._root}/metadata/{application}/{revision}")
                self._metadata[application, revision] = dubbo_instances.metadata(node.data)
                noted("")
            except NoNode:
                whole = False
                noted(f"ZooKeeper does not have the metadata of {application} {revision}, only its processes do")
            except (ZooKeeperError, ValueError) as error:
                whole = False
                noted(str(error))
        return whole

    def _processes(self) -> list[Process]:
        found = []
        for application, nodes in self._applications.items():
            wrong = []
            for _, data in sorted(nodes.said.items()):
                try:
                    one = dubbo_instances.process(data)
                except ValueError as error:
                    wrong.append(str(error))
                    continue
                if one is not None and one.revision:
                    found.append(one)
            self._noted(f"processes of {application}{UNREADABLE}")("; ".join(wrong))
        return found

    def _gather(self) -> None:
        self._from_processes = tuple(
            provider
            for process in self._processes()
            for provider in decide.announced(
                process, self._name, self._metadata.get((process.application, process.revision), ())
            )
        )
        self._tell()


async def _both(*work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)
