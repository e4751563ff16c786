"""Dubbo in a real ZooKeeper: the contract of `ports.dubbo_registry.DubboRegistry`, and what the Directory sees."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence

import msgspec
import pytest
import pytest_asyncio

from coldchain.clients.dubbo import Server as Provides
from coldchain.clients.dubbo import Services
from coldchain.clients.zookeeper import NoNode, ZooKeeper
from coldchain.control.clock import SystemClock
from coldchain.documents import dubbo_url
from coldchain.dubbo.caller import DubboCaller
from coldchain.dubbo.discovery import Directory
from coldchain.dubbo.switch import ZooKeeperDubboRegistry
from coldchain.model.dubbo import Announced, Announcement, Consumer, Export, Provider
from coldchain.model.service_call import ServiceCall
from coldchain.ports.dubbo_registry import DubboRegistry
from coldchain.testing.fake_dubbo_registry import FakeDubboRegistry
from coldchain.testing.zookeeper import ZooKeeper as Server
from coldchain.testing.zookeeper import expire, served, zookeeper

pytestmark = pytest.mark.asyncio(loop_scope="module")
ONE = Announcement(export=Export(interface="a.B", group="g", version="1"), host="10.0.0.1", port=20880, started="16")
TWO = Announcement(export=Export(interface="a.C"), host="10.0.0.2", port=20880, started="17")
WHOLE = [
    Announcement(export=Export(interface=name, version="1"), host="10.0.0.3", port=20880, process="basket")
    for name in ("a.D", "a.E")
]
ME = Consumer(host="10.0.0.9", application="shop")
NODE = "dubbo://{}:20880/a.B?application=basket&group=g&interface=a.B&methods=add&timestamp=16&version=1{}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with zookeeper() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def keeper(server: Server) -> AsyncIterator[ZooKeeper]:
    """Somebody else's session: of providers and operators."""
    client = ZooKeeper(server.address, session_seconds=4.0)
    yield client
    await client.close()


class Lab:
    """A registry, and the hands of providers: `announce(providers)` says that these are there and no others."""

    def __init__(self, registry: DubboRegistry, announce: Callable[[Sequence[Announcement]], Awaitable[None]]) -> None:
        self.registry = registry
        self.announce = announce


def said(one: Announcement) -> str:
    parameters = {"group": one.export.group, "version": one.export.version, "timestamp": one.started}
    url = dubbo_url.parse_url(f"dubbo://{one.host}:{one.port}/{one.export.interface}")
    for name, value in parameters.items():
        if value:
            url.parameters[name] = value
    return dubbo_url.render_node(url)


async def announce_processes(keeper: ZooKeeper, root: str, found: Sequence[Announcement]) -> None:
    """Each process with the metadata of what it provides, as Dubbo 3 writes it."""
    for place in {(one.process, one.host, one.port) for one in found}:
        application, host, port = place
        services = {
            str(one.export): {"name": one.export.interface, "version": one.export.version, "protocol": "dubbo"}
            for one in found
            if (one.process, one.host, one.port) == place
        }
        metadata = json.dumps({"app": application, "services": services}).encode()
        await keeper.create(f"{root}/metadata/{application}/r1", metadata, parents=True)
        said = {"name": application, "address": host, "port": port}
        said |= {"payload": {"metadata": {"dubbo.metadata.revision": "r1"}}}
        node = f"{root}-services/{application}/{host}:{port}"
        await keeper.create(node, json.dumps(said).encode(), ephemeral=True, parents=True)


@pytest_asyncio.fixture(params=["fake", "zookeeper"], loop_scope="module")
async def lab(request: pytest.FixtureRequest, server: Server, keeper: ZooKeeper) -> AsyncIterator[Lab]:
    if request.param == "fake":
        fake = FakeDubboRegistry(SystemClock())

        async def told(found: Sequence[Announcement]) -> None:
            fake.announce(found)

        yield Lab(fake, told)
        return
    root = f"/t{uuid.uuid4().hex[:10]}/dubbo"
    known: set[Announcement] = set()

    async def written(every: Sequence[Announcement]) -> None:
        await announce_processes(keeper, root, [one for one in every if one.process])
        found = [one for one in every if not one.process]
        for one in known - set(found):
            await keeper.delete(f"{root}/{one.export.interface}/providers/{said(one)}")
        for one in set(found) - known:
            await keeper.create(f"{root}/{one.export.interface}/providers/{said(one)}", ephemeral=True, parents=True)
        known.clear()
        known.update(found)

    client = ZooKeeper(server.address, session_seconds=4.0)
    registry = ZooKeeperDubboRegistry(client, root, "me", services=f"{root}-services")
    yield Lab(registry, written)
    await registry.close()


async def until(
    watched: AsyncGenerator[Announced, None],
    providers: Iterable[Announcement],
    switched_off: Iterable[Announcement] = (),
) -> None:
    async with asyncio.timeout(20):
        async for found in watched:
            if (set(found.providers), set(found.switched_off)) == (set(providers), set(switched_off)):
                return


async def test_what_is_announced_is_followed(lab: Lab) -> None:
    async with contextlib.aclosing(lab.registry.watch(lambda words: None)) as watched:
        await until(watched, ())
        await lab.announce([ONE])
        await until(watched, [ONE])
        await lab.announce([ONE, TWO])
        await until(watched, [ONE, TWO])
        await lab.announce([TWO])
        await until(watched, [TWO])
        await lab.announce([])
        await until(watched, ())


async def test_who_is_switched_off_stays_so_until_that_is_taken_back(lab: Lab) -> None:
    await lab.announce([ONE, TWO])
    async with contextlib.aclosing(lab.registry.watch(lambda words: None)) as watched:
        await lab.registry.switch_off(ONE)
        await lab.registry.switch_off(ONE)
        await until(watched, [ONE, TWO], [ONE])
        await lab.announce([])
        await until(watched, (), [ONE])
        await lab.registry.switch_on(ONE)
        await lab.registry.switch_on(ONE)
        await lab.registry.switch_on(TWO)
        await until(watched, ())


async def test_what_is_withdrawn_is_gone_and_nothing_else(lab: Lab) -> None:
    await lab.announce([ONE, TWO])
    async with contextlib.aclosing(lab.registry.watch(lambda words: None)) as watched:
        await until(watched, [ONE, TWO])
        await lab.registry.switch_off(ONE)
        await lab.registry.withdraw(ONE)
        await lab.registry.withdraw(ONE)
        await until(watched, [TWO], [ONE])
        await lab.registry.withdraw(Announcement(export=Export(interface="none"), host="h", port=1))
        await lab.registry.switch_on(ONE)
        await until(watched, [TWO])


async def test_what_processes_announce_as_a_whole_is_followed_and_withdrawn_as_a_whole(lab: Lab) -> None:
    async with contextlib.aclosing(lab.registry.watch(lambda words: None)) as watched:
        await lab.announce([ONE, *WHOLE])
        await until(watched, [ONE, *WHOLE])
        await lab.registry.withdraw(WHOLE[0])
        await lab.registry.withdraw(WHOLE[0])
        await until(watched, [ONE])


async def test_a_process_whose_metadata_are_not_there_yet_announces_its_application(
    server: Server, keeper: ZooKeeper, root: str
) -> None:
    registry = ZooKeeperDubboRegistry(ZooKeeper(server.address, session_seconds=4.0), root, "me", services=f"{root}-s")
    async with contextlib.aclosing(registry.watch(lambda words: None)) as watched:
        await until(watched, ())
        said = {"name": "basket", "address": "10.0.0.3", "port": 20880}
        said["payload"] = {"metadata": {"dubbo.metadata.revision": "r1"}}
        await keeper.create(f"{root}-s/basket/one", json.dumps(said).encode(), ephemeral=True, parents=True)
        await keeper.create(f"{root}-s/basket/two", b"of somebody else")
        whole = Announcement(export=Export(interface="basket"), host="10.0.0.3", port=20880, process="basket")
        await until(watched, [whole])
        services = {"one": {"name": "a.B", "protocol": "dubbo"}}
        await keeper.create(f"{root}/metadata/basket/r1", json.dumps({"services": services}).encode(), parents=True)
        await until(watched, [msgspec.structs.replace(whole, export=Export(interface="a.B"))])
    await registry.close()


@contextlib.asynccontextmanager
async def directory(server: Server, root: str) -> AsyncIterator[tuple[Directory, ZooKeeper]]:
    client = ZooKeeper(server.address, session_seconds=4.0)
    found = Directory(client, ME, root=root, services=f"{root}/services")
    try:
        yield found, client
    finally:
        await found.close()
        await client.close()


@pytest.fixture
def root() -> str:
    return f"/t{uuid.uuid4().hex[:10]}"


async def write(keeper: ZooKeeper, path: str, url: str) -> str:
    node = f"{path}/{dubbo_url.render_node(dubbo_url.parse_url(url))}"
    await keeper.create(node, parents=True)
    return node


async def hosts(found: Directory, wanted: Sequence[str], method: str = "") -> Sequence[Provider]:
    """Wait until these are the providers of a.B."""
    async with asyncio.timeout(20):
        while True:
            providers = found.providers("a.B", "g", "1", method=method)
            if [one.host for one in providers] == list(wanted):
                return providers
            await found.changed()


async def test_the_directory_follows_providers_configurators_routers_and_rules(
    server: Server, keeper: ZooKeeper, root: str
) -> None:
    async with directory(server, root) as (found, _):
        await found.known("a.B")
        assert found.providers("a.B", "g", "1") == ()
        for host in ("10.0.0.1", "10.0.0.2"):
            await write(keeper, f"{root}/a.B/providers", NODE.format(host, ""))
        await keeper.create(f"{root}/a.B/providers/nonsense")
        providers = await hosts(found, ["10.0.0.1", "10.0.0.2"])
        assert providers[0].methods == ("add",)
        assert found.providers("a.B") == ()
        async with asyncio.timeout(20):
            while "'nonsense' is no URL of Dubbo" not in found.trouble:
                await found.changed()
        off = dubbo_url.switched_off_url(
            Announcement(export=Export(interface="a.B", group="g", version="1"), host="10.0.0.1", port=20880), "me"
        )
        node = await write(keeper, f"{root}/a.B/configurators", dubbo_url.render_url(off))
        await hosts(found, ["10.0.0.2"])
        await keeper.delete(node)
        await hosts(found, ["10.0.0.1", "10.0.0.2"])
        rule = "condition://0.0.0.0/a.B?category=routers&rule=method+%3D+add+%3D%3E+host+%3D+10.0.0.1&priority=1"
        await write(keeper, f"{root}/a.B/routers", rule)
        await hosts(found, ["10.0.0.1"], method="add")
        await hosts(found, ["10.0.0.1", "10.0.0.2"], method="get")
        document = "{key: 'a.B:1:g', configs: [{addresses: ['0.0.0.0'], parameters: {weight: 7}}]}"
        await keeper.create(f"{root}/config/dubbo/a.B:1:g.configurators", document.encode(), parents=True)
        async with asyncio.timeout(20):
            while [one.weight for one in found.providers("a.B", "g", "1")] != [7, 7]:
                await found.changed()
        await keeper.create(f"{root}/config/dubbo/shop.condition-router", b"{conditions: ['=> host = 10.0.0.2']}")
        await hosts(found, ["10.0.0.2"])
        announced = [dubbo_url.parse_node(name) for name in await keeper.children(f"{root}/a.B/consumers")]
        assert {(one.host, one.parameters.get("group")) for one in announced} == {("10.0.0.9", "g"), ("10.0.0.9", None)}


async def test_the_directory_knows_processes_that_announce_themselves_as_a_whole(
    server: Server, keeper: ZooKeeper, root: str
) -> None:
    def process(host: str, revision: str) -> bytes:
        metadata = {"dubbo.metadata.revision": revision}
        said = {"name": "basket", "address": host, "port": 20880, "payload": {"metadata": metadata}}
        return json.dumps(said).encode()

    provided = {"name": "a.B", "group": "g", "version": "1", "protocol": "dubbo", "params": {"methods": "add"}}
    async with directory(server, root) as (found, _):
        assert found.providers("a.B", "g", "1") == ()
        await keeper.create(f"{root}/services/basket/10.0.0.1:20880", process("10.0.0.1", "r1"), parents=True)
        await keeper.create(f"{root}/mapping/a.B", b"basket", parents=True)
        async with asyncio.timeout(20):
            while "does not have the metadata of basket r1" not in found.trouble:
                await found.changed()
        metadata = json.dumps({"services": {"one": provided}}).encode()
        await keeper.create(f"{root}/metadata/basket/r1", metadata, parents=True)
        [one] = await hosts(found, ["10.0.0.1"])
        assert (one.address, one.methods, one.application) == ("10.0.0.1:20880", ("add",), "basket")
        await keeper.create(f"{root}/metadata/basket/r2", json.dumps({"services": {}}).encode())
        await keeper.set(f"{root}/services/basket/10.0.0.1:20880", process("10.0.0.1", "r2"))
        await hosts(found, [])
        await keeper.create(f"{root}/services/other/10.0.0.2:20880", process("10.0.0.2", "r1"), parents=True)
        await keeper.create(f"{root}/config/mapping/a.B/other", parents=True)
        await hosts(found, ["10.0.0.2"])


async def test_the_directory_keeps_its_providers_when_zookeeper_or_its_session_goes(
    server: Server, keeper: ZooKeeper, root: str
) -> None:
    async with directory(server, root) as (found, client):
        await write(keeper, f"{root}/a.B/providers", NODE.format("10.0.0.1", ""))
        await hosts(found, ["10.0.0.1"])
        seen: list[int] = []

        async def look() -> None:
            while True:
                seen.append(len(found.providers("a.B", "g", "1")))
                await asyncio.sleep(0.002)

        looking = asyncio.create_task(look())
        await expire(client)
        await write(keeper, f"{root}/a.B/providers", NODE.format("10.0.0.2", ""))
        await hosts(found, ["10.0.0.1", "10.0.0.2"])
        await server.kill()
        async with asyncio.timeout(20):
            while not client.trouble:
                await asyncio.sleep(0.01)
        server.start()
        await served(server)
        await write(keeper, f"{root}/a.B/providers", NODE.format("10.0.0.3", ""))
        await hosts(found, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        looking.cancel()
        assert min(seen) >= 1
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(NoNode):
                    if await keeper.children(f"{root}/a.B/consumers"):
                        break
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def provided(server: Server, root: str) -> AsyncIterator[tuple[ZooKeeper, list[object]]]:
    """A provider of a.B with the session that its announcement lives in, and whom it answered."""
    heard: list[object] = []

    async def add(value: object) -> object:
        heard.append(value)
        return value

    services = Services()
    services.add("a.B", {"add": add}, version="1", group="g")
    provider, session = Provides(services), ZooKeeper(server.address, session_seconds=4.0)
    await provider.start()
    url = f"dubbo://127.0.0.1:{provider.port}/a.B?group=g&interface=a.B&methods=add&version=1"
    node = f"{root}/a.B/providers/{dubbo_url.render_node(dubbo_url.parse_url(url))}"
    await session.create(node, ephemeral=True, parents=True)
    try:
        yield session, heard
    finally:
        await session.close()
        await provider.close()


async def test_no_call_fails_while_sessions_of_consumer_and_providers_expire(server: Server, root: str) -> None:
    async with (
        provided(server, root) as (one, by_one),
        provided(server, root) as (two, by_two),
        directory(server, root) as (found, client),
        asyncio.timeout(60),
    ):
        caller = DubboCaller(found, SystemClock())
        while len(found.providers("a.B", "g", "1")) < 2:
            await found.changed()

        async def call() -> None:
            number = 0
            while True:
                number += 1
                wanted = ServiceCall(service="a.B", version="1", group="g", method="add", arguments=(number,))
                assert (await caller.call(wanted)).value == number

        calling = [asyncio.create_task(call()) for _ in range(4)]
        for session, heard in ((client, by_one), (one, by_one), (two, by_two), (client, by_two)):
            before = session.credentials
            await expire(session)
            while session.credentials == before:
                await asyncio.sleep(0.01)
            # Who lost his session announces himself anew, and is called again.
            heard.clear()
            while len(heard) < 100:
                assert not any(task.done() for task in calling), [task for task in calling if task.done()]
                await asyncio.sleep(0.01)
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
        await caller.close()
