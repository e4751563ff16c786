"""The loop of routes: what the store says reaches the daemon, and nothing that goes wrong takes its routes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
from msgspec.structs import replace

from coldchain.control.netd.lost_nodes import IDLE_SECONDS, LOOK_SECONDS
from coldchain.control.netd.membership import Membership
from coldchain.control.netd.routes import AGAIN_SECONDS, RETRY_SECONDS, RouteLoop
from coldchain.control.nodes import Nodes, Removed
from coldchain.documents import keys, stored
from coldchain.model.attachment import Attachment
from coldchain.model.errors import Conflict, InvalidDocument, NotFound
from coldchain.model.node import Node, RoutePeer, Routing
from coldchain.model.pool import Block, Pool
from coldchain.model.route_plan import RoutePlan
from coldchain.model.secret import Secret
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_cipher import FakeCipher
from coldchain.testing.fake_reach import FakeReach
from coldchain.testing.fake_routing_daemon import FakeRoutingDaemon
from coldchain.testing.fake_tunnels import FakeTunnels
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

ME = Node(name="me", address="10.10.3.1/24")
OTHER = Node(name="other", address="10.10.3.2/24")
FAR = Node(name="far", address="10.10.50.1/24")
SEEDS = range(5)


def written(plan: RoutePlan, passwords: Mapping[str, str]) -> str:
    """A text that says all that a plan says of sessions and blocks."""
    lines = []
    for family in plan.families:
        lines += [f"block {one}" for one in family.blocks]
        for session in family.sessions:
            if not session.secret or session.secret in passwords:
                word = "client" if session.role == "client" else "protocol"
                lines.append(f"{word} bgp '{session.name}' {passwords.get(session.secret, '')}".rstrip())
    return "\n".join(lines) + "\n"


class LosingStore(FaultyStore):
    """One that can be empty from one moment to the next."""

    async def lose(self) -> None:
        before, self._store = self._store, MemoryStore()
        await before.close()


class Lab:
    """The loop of `ME` in a store where `OTHER` is already."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.store = LosingStore(MemoryStore())
        self.daemon = FakeRoutingDaemon()
        self.tunnels = FakeTunnels()
        self.cipher = FakeCipher()
        self.reach = FakeReach()
        self.nodes = Nodes(self.store)
        self.routes = self.made(ME)

    def made(self, me: Node) -> RouteLoop:
        return RouteLoop(self.store, self.daemon, self.tunnels, me, written, self.clock, self.cipher, self.reach)

    async def put(self, *records: Pool | Block | Node) -> None:
        await self.store.write([Change(key=keys.network_key_of(one), value=stored.encode(one)) for one in records])

    async def put_secret(self, name: str, value: str) -> None:
        sealed = self.cipher.seal(name, value)
        secret = Secret(name=name, key_id=self.cipher.key_id, sealed=sealed, changed_at=0.0, cause="a test")
        await self.store.write([Change(key=keys.secret(name), value=stored.encode(secret))])

    async def moment(self, seconds: float = 0.01) -> None:
        await self.clock.sleep(seconds)

    @property
    def text(self) -> str:
        return self.daemon.applied[-1] if self.daemon.applied else ""


def run(story: Callable[[Lab], Awaitable[None]], seed: int = 0) -> None:
    """The story, beside the loop."""
    loop = SimulatedLoop(seed)

    async def program() -> None:
        lab = Lab(loop)
        await lab.nodes.join(OTHER)
        routes = asyncio.create_task(lab.routes.run())
        await lab.moment()
        await story(lab)
        assert not routes.done(), "the loop ended"
        routes.cancel()
        await asyncio.gather(routes, return_exceptions=True)
        await lab.store.close()

    simulate(program(), loop)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_joins_and_follows_what_the_store_says(seed: int) -> None:
    async def story(lab: Lab) -> None:
        assert lab.routes.status.joined
        assert {one.name for one in await lab.nodes.list()} == {"me", "other"}
        assert lab.text == "protocol bgp 'node4-other'\n"
        assert lab.routes.status.sessions == {"node4-other": "Connect"}
        await lab.put(Pool(name="p", cidr="10.200.0.0/16"), Block(pool="p", cidr="10.200.0.0/26", node="me"))
        await lab.moment()
        assert "block 10.200.0.0/26\n" in lab.text
        await lab.nodes.remove("other")
        await lab.moment()
        assert "node4-other" not in lab.text
        assert lab.daemon.starts == 1

    run(story, seed)


def test_what_changes_nothing_for_the_daemon_is_not_told_to_it() -> None:
    async def story(lab: Lab) -> None:
        await lab.put(Pool(name="p", cidr="10.200.0.0/16"), Block(pool="p", cidr="10.200.0.0/26", node="other"))
        await lab.moment(AGAIN_SECONDS * 3)
        assert len(lab.daemon.applied) == 1

    run(story)


def test_a_store_that_is_away_leaves_all_as_it_is() -> None:
    async def story(lab: Lab) -> None:
        lab.store.silent = True
        lab.daemon.kill()
        await lab.moment(AGAIN_SECONDS)
        assert lab.daemon.starts == 2
        assert lab.text == "protocol bgp 'node4-other'\n"

    run(story)


def test_a_machine_that_comes_back_while_the_store_is_away_begins_with_the_routes_it_had() -> None:
    loop = SimulatedLoop(0)

    async def program() -> None:
        lab = Lab(loop)
        await lab.daemon.apply("protocol bgp 'node4-before'\n")
        lab.daemon.kill()
        lab.store.silent = True
        running = asyncio.create_task(lab.routes.run())
        await lab.moment(RETRY_SECONDS * 2)
        assert set(await lab.daemon.sessions()) == {"node4-before"}
        assert "does not answer" in lab.routes.status.trouble
        lab.store.silent = False
        await lab.moment(RETRY_SECONDS * 2)
        assert lab.routes.status.joined
        assert not lab.routes.status.trouble
        assert await lab.daemon.sessions() == {}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await lab.store.close()

    simulate(program(), loop)


def test_what_an_operator_says_of_the_node_counts_beside_what_its_machine_says() -> None:
    async def story(lab: Lab) -> None:
        await lab.nodes.join(Node(name="third", address="10.10.3.3/24"))
        await lab.nodes.change_routing(lambda before: Routing(mesh_nodes_max=2))
        await lab.nodes.change("me", lambda before: replace(before, reflector=True))
        await lab.moment()
        assert lab.text == "client bgp 'node4-other'\nclient bgp 'node4-third'\n"

    run(story)


def test_a_store_that_has_lost_everything_takes_no_route() -> None:
    async def story(lab: Lab) -> None:
        await lab.store.lose()
        await lab.moment(AGAIN_SECONDS * 2)
        assert set(await lab.daemon.sessions()) == {"node4-other"}
        assert not lab.routes.status.removed

    run(story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_daemon_that_ends_is_started_again_at_once(seed: int) -> None:
    async def story(lab: Lab) -> None:
        await lab.moment(RETRY_SECONDS)
        lab.daemon.kill()
        await lab.moment()
        assert lab.daemon.starts == 2
        for _ in range(50):
            lab.daemon.kill()
            await lab.moment(RETRY_SECONDS / 10)
        assert lab.daemon.starts < 10

    run(story, seed)


def test_who_is_removed_takes_his_routes_away_and_joins_again_once_he_may() -> None:
    async def story(lab: Lab) -> None:
        await lab.nodes.remove("me", may_return=True)
        await lab.moment(AGAIN_SECONDS * 2)
        assert lab.routes.status.removed
        assert lab.routes.status.sessions == {}
        await lab.daemon.ended()
        assert len(await lab.nodes.list()) == 1
        await lab.nodes.join(ME)
        await lab.moment()
        assert not lab.routes.status.removed
        assert set(await lab.daemon.sessions()) == {"node4-other"}

    run(story)


def test_also_the_last_node_of_all_can_be_removed() -> None:
    async def story(lab: Lab) -> None:
        await lab.nodes.remove("other")
        await lab.nodes.remove("me")
        await lab.moment()
        assert lab.routes.removed.is_set()
        await lab.daemon.ended()

    run(story)


def test_a_configuration_that_is_refused_is_told_of_and_tried_again() -> None:
    async def story(lab: Lab) -> None:
        lab.daemon.refuses = True
        await lab.nodes.join(Node(name="third", address="10.10.3.3/24"))
        await lab.moment()
        assert "refuses its configuration" in lab.routes.status.machine_trouble
        assert set(await lab.daemon.sessions()) == {"node4-other"}
        lab.daemon.refuses = False
        await lab.moment(AGAIN_SECONDS + 1.0)
        assert not lab.routes.status.machine_trouble
        assert set(await lab.daemon.sessions()) == {"node4-other", "node4-third"}

    run(story)


def test_a_tunnel_comes_and_goes_with_the_settings() -> None:
    async def story(lab: Lab) -> None:
        await lab.nodes.join(FAR)
        await lab.moment()
        assert "far cannot be reached" in lab.routes.status.findings[0].reason
        lab.tunnels.refuses = True
        await lab.nodes.change_routing(lambda before: Routing(encapsulation="cross-subnet"))
        await lab.moment()
        assert "vxlan" in lab.routes.status.machine_trouble
        assert "node4-far" not in lab.text, "routes into a tunnel that is not there"
        lab.tunnels.refuses = False
        await lab.moment(RETRY_SECONDS * 2)
        assert lab.tunnels.tunnel is not None
        assert "node4-far" in lab.text
        assert not lab.routes.status.findings
        await lab.nodes.change_routing(lambda before: Routing())
        await lab.moment()
        assert lab.tunnels.tunnel is None

    run(story)


def test_a_password_is_opened_and_what_cannot_be_opened_leaves_its_session_out() -> None:
    async def story(lab: Lab) -> None:
        peer = RoutePeer(name="r", address="10.10.3.254", autonomous_system=64600, secret="tor")
        await lab.nodes.change_routing(lambda before: Routing(peers=(peer,)))
        await lab.moment()
        assert "peer4-r" not in lab.text
        assert "there is no secret 'tor'" in lab.routes.status.findings[0].reason
        await lab.put_secret("tor", "guess")
        await lab.moment(AGAIN_SECONDS * 2)
        assert "protocol bgp 'peer4-r' guess\n" in lab.text
        assert not lab.routes.status.findings
        lab.store.silent = True
        await lab.moment(AGAIN_SECONDS * 2)
        assert "protocol bgp 'peer4-r' guess\n" in lab.text
        assert not lab.routes.status.machine_trouble
        lab.store.silent = False
        await lab.put_secret("tor", 'a "quotation"')
        await lab.moment(AGAIN_SECONDS * 2)
        assert "peer4-r" not in lab.text
        assert "quotation mark" in lab.routes.status.findings[0].reason

    run(story)


def test_routes_of_a_lost_machine_go_and_those_of_one_without_its_daemon_stay() -> None:
    async def story(lab: Lab) -> None:
        await lab.nodes.join(Node(name="third", address="10.10.3.3/24"))
        lab.daemon.hears = {"10.10.3.2": True, "10.10.3.3": True, "10.9.9.9": True}
        await lab.moment(IDLE_SECONDS * 2)
        assert not lab.reach.asked
        lab.reach.lost = {"10.10.3.3"}
        lab.daemon.hears = {"10.10.3.2": False, "10.10.3.3": False, "10.9.9.9": False}
        await lab.moment(LOOK_SECONDS * 1.5)
        assert lab.daemon.withdrawn == ["node4-third"]
        await lab.moment(AGAIN_SECONDS)
        assert sorted(lab.reach.asked) == ["10.10.3.2", "10.10.3.3"], "each is asked once"
        await lab.nodes.change_routing(lambda before: Routing(bfd=False))
        lab.daemon.hears = {}
        await lab.moment(AGAIN_SECONDS)
        assert len(lab.daemon.withdrawn) == 1

    run(story)


async def test_a_machine_that_comes_again_keeps_what_an_operator_said_of_it() -> None:
    nodes = Nodes(MemoryStore())
    await nodes.join(ME)
    await nodes.change("me", lambda before: Node(name="me", address=before.address, reflector=True))
    assert (await nodes.join(Node(name="me", address=ME.address, interface="eth0"))).reflector
    with pytest.raises(Conflict, match=r"is known with the address 10\.10\.3\.1/24"):
        await nodes.join(Node(name="me", address="10.10.3.7/24"))


async def test_what_does_not_fit_changes_nothing() -> None:
    nodes = Nodes(MemoryStore())
    await nodes.join(ME)
    with pytest.raises(InvalidDocument, match="node me has this address"):
        await nodes.join(Node(name="twin", address="10.10.3.1/24"))
    with pytest.raises(InvalidDocument, match="no IPv4 address"):
        await nodes.change("me", lambda before: Node(name="me", address="10.10.3.1"))
    with pytest.raises(InvalidDocument, match="/holdSeconds"):
        await nodes.change_routing(lambda before: Routing(hold_seconds=1))
    with pytest.raises(NotFound):
        await nodes.remove("nobody")
    assert await nodes.list() == [ME]
    assert await nodes.routing() == Routing()


async def test_a_node_with_containers_is_removed_only_as_lost() -> None:
    store = MemoryStore()
    nodes = Nodes(store)
    await nodes.join(ME)
    place = Attachment(id="a1", node="me", network="n", address="10.200.0.1")
    await store.write([Change(key=keys.network_key_of(place), value=stored.encode(place))])
    assert await nodes.containers() == {"me": 1}
    with pytest.raises(Conflict, match="has 1 containers"):
        await nodes.remove("me")
    await nodes.remove("me", lost=True)
    assert await nodes.list() == []


async def test_who_was_removed_does_not_join_again_before_he_may() -> None:
    nodes = Nodes(MemoryStore())
    await nodes.join(ME)
    await nodes.remove("me")
    with pytest.raises(Removed, match=r"Node 'me' was removed .* `coldchain node remove me --may-return`"):
        await nodes.join(ME)
    assert await nodes.list() == []
    with pytest.raises(NotFound):
        await nodes.remove("me")
    assert await nodes.remove("me", may_return=True) == ME
    await nodes.join(ME)
    await nodes.remove("me")
    other = replace(ME, address="10.10.3.77/24")
    await nodes.join(other)  # another machine that has the name now
    assert await nodes.list() == [other]


def test_who_was_removed_while_netd_was_away_takes_his_routes_away_and_comes_back_once_he_may() -> None:
    loop = SimulatedLoop(1)
    clock = SimulatedClock(loop)

    async def program() -> None:
        store, daemon = MemoryStore(), FakeRoutingDaemon()
        nodes = Nodes(store)
        await nodes.join(ME)
        await nodes.join(OTHER)
        await daemon.apply("protocol bgp 'before' {}")  # it went on without netd
        await nodes.remove("me", lost=True)
        membership = Membership(store, ME, nothing, clock)
        routes = RouteLoop(
            store, daemon, FakeTunnels(), ME, lambda plan, passwords: "", clock, joining=membership.joined
        )
        running = [asyncio.ensure_future(one.run()) for one in (membership, routes)]
        await clock.sleep(AGAIN_SECONDS)
        assert routes.status.removed
        await daemon.ended()
        assert "was removed" in membership.status.trouble
        assert await nodes.list() == [OTHER]
        await nodes.remove("me", may_return=True)
        await clock.sleep(AGAIN_SECONDS)
        assert await nodes.list() == [ME, OTHER]
        assert (routes.status.removed, routes.status.joined, membership.status.trouble) == (False, True, "")
        assert await daemon.sessions() == {}
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def nothing() -> None:
        """It holds no addresses."""

    simulate(program(), loop)


async def test_who_is_slower_looks_again() -> None:
    store = FaultyStore(MemoryStore())
    nodes = Nodes(store)
    await nodes.join(ME)
    store.fault = lambda number, changes: "lost update" if number % 2 == 0 else None
    await nodes.join(OTHER)
    await nodes.change_routing(lambda before: Routing(hold_seconds=30))
    await nodes.remove("me", may_return=True)
    assert await nodes.list() == [OTHER]
    assert (await nodes.routing()).hold_seconds == 30
    store.fault = lambda number, changes: "lost update"
    with pytest.raises(Conflict, match="by others all the time"):
        await nodes.join(ME)
