"""A gateway beside a controller that stands by is fed by the leader, over its API."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import ClientSession

from coldchain.api.passed import Passed, controller_headers
from coldchain.control.rotation import LEASE_SECONDS
from coldchain.gateway.remote_feed import RemoteFeed
from coldchain.model.caller import Caller
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.leader import Leader
from coldchain.model.limit import LimitUse
from coldchain.model.rotation import GatewayReport
from coldchain.testing.served_candidates import Served, ServedCandidates, served_candidates

SHOP = {
    "id": "/shop",
    "cpus": 0.1,
    "mem": 16,
    "container": {"type": "DOCKER", "docker": {"image": "shop:1"}, "portMappings": [{"containerPort": 8080}]},
    "service": "shop",
    "routes": [{"domains": ["shop.localhost"]}],
}
FIRST = GatewayReport(gateway="gateway-9", applied=0)


@pytest.fixture
async def two() -> AsyncIterator[ServedCandidates]:
    async with served_candidates() as served:
        yield served


async def roles_of(served: ServedCandidates) -> tuple[Served, Served]:
    leader = await served.led()
    return leader, next(one for one in served.all if one is not leader)


async def deployed(session: ClientSession, leader: Served) -> None:
    async with session.post(f"{leader.url}/v2/apps", json=SHOP) as answer:
        assert answer.status == 201, await answer.text()


async def in_step(leader: Served, *gateways: str) -> None:
    """Wait until these have the whole rotation, with the app in it."""
    publisher = leader.candidate.controller.publisher
    async with asyncio.timeout(10):
        while not publisher.rotation.services or not all(
            name in publisher.sessions and publisher.sessions[name].applied == publisher.rotation.revision
            for name in gateways
        ):
            await asyncio.sleep(0.01)


async def test_both_gateways_get_the_rotation_and_are_ready(two: ServedCandidates) -> None:
    leader, standby = await roles_of(two)
    async with ClientSession() as session:
        await deployed(session, leader)
    await in_step(leader, leader.gateway.name, standby.gateway.name)
    assert standby.gateway.rotation == leader.gateway.rotation
    assert list(standby.gateway.rotation.routes) == ["shop.localhost"]
    assert standby.gateway.ready
    assert {one.gateway for one in leader.candidate.controller.publisher.live()} == {"gateway-0", "gateway-1"}


async def test_both_gateways_get_their_shares_of_a_limit(two: ServedCandidates) -> None:
    leader, standby = await roles_of(two)
    for served in (leader, standby):
        served.gateway.uses = {"limit": LimitUse(most=10, rate=True)}
    async with asyncio.timeout(20):
        while any(one.gateway.shares.get("limit") != 0.5 for one in (leader, standby)):
            await asyncio.sleep(0.01)


async def test_the_leader_waits_for_the_gateway_beside_a_standby(two: ServedCandidates) -> None:
    leader, standby = await roles_of(two)
    async with ClientSession() as session:
        await deployed(session, leader)
        async with asyncio.timeout(30):
            while leader.candidate.controller.state.running:
                await asyncio.sleep(0.01)
        await in_step(leader, leader.gateway.name, standby.gateway.name)
        standby.gateway.apply_seconds = 1000.0
        async with session.put(f"{leader.url}/v2/apps//shop", json={"instances": 2}) as answer:
            assert answer.status == 200
        state, publisher = leader.candidate.controller.state, leader.candidate.controller.publisher
        async with asyncio.timeout(30):
            while not (entering := [one for one in state.instances.values() if one.phase == "entering"]):
                await asyncio.sleep(0.01)
            while leader.gateway.rotation.revision < publisher.rotation.revision:
                await asyncio.sleep(0.01)
        assert publisher.waits_for(entering[0], 1).startswith(f"gateway {standby.gateway.name} has not applied it")


async def test_no_gateway_fails_its_readiness_while_the_lead_goes_over(two: ServedCandidates) -> None:
    leader, standby = await roles_of(two)
    third = await two.start()
    async with ClientSession() as session:
        await deployed(session, leader)
    gateways = [standby.gateway, third.gateway]
    await in_step(leader, *(one.name for one in gateways))
    before = standby.gateway.rotation
    await two.kill(leader)
    failed: list[str] = []
    while two.leader() is None:
        failed += [one.name for one in gateways if not one.ready]
        assert standby.gateway.rotation == before
        await asyncio.sleep(0.01)
    following = await two.led()
    until = asyncio.get_running_loop().time() + LEASE_SECONDS
    await in_step(following, *(one.name for one in gateways))
    while asyncio.get_running_loop().time() < until:
        failed += [one.name for one in gateways if not one.ready]
        await asyncio.sleep(0.01)
    assert not failed
    assert standby.gateway.rotation.services.keys() == before.services.keys()


async def test_one_who_abdicates_is_left_at_once(two: ServedCandidates) -> None:
    leader, standby = await roles_of(two)
    await in_step_without_apps(leader, standby)
    leader.candidate.leadership.abdicate()
    await in_step_without_apps(standby, leader)


async def in_step_without_apps(leader: Served, standby: Served) -> None:
    publisher_of = leader.candidate
    async with asyncio.timeout(10):
        while not (publisher_of.leads and standby.gateway.name in publisher_of.controller.publisher.sessions):
            await asyncio.sleep(0.01)


async def test_only_a_controller_or_who_may_change_everything_is_answered(two: ServedCandidates) -> None:
    leader, standby = await roles_of(two)
    async with ClientSession() as session:
        tokens = {}
        for name, role in (("root", "admin"), ("machine", "operator"), ("ann", "viewer")):
            headers = {"Authorization": f"Bearer {tokens['root']}"} if tokens else {}
            body = {"name": name, "role": role}
            async with session.post(f"{leader.url}/v1/tokens", json=body, headers=headers) as answer:
                tokens[name] = (await answer.json())["token"]
        for name in ("ann", "nobody"):
            shown = {"Authorization": f"Bearer {tokens.get(name, 'x')}"}
            with pytest.raises(Rejected, match=r"40[13].*token of role operator"):
                await RemoteFeed(session, leader.url, shown).exchange(FIRST, 0.0)
        wrong = controller_headers(standby.candidate.me, Passed(caller=Caller(name="local", role="admin"), asked=True))
        with pytest.raises(Rejected, match="401"):
            await RemoteFeed(session, leader.url, wrong).exchange(FIRST, 0.0)
        for url in (leader.url, standby.url):
            machine = RemoteFeed(session, url, {"Authorization": f"Bearer {tokens['machine']}"})
            update = await machine.exchange(FIRST, 0.0)
            assert update is not None
            assert machine.lease_seconds == LEASE_SECONDS


async def test_nobody_there_is_not_available(two: ServedCandidates) -> None:
    leader, _ = await roles_of(two)
    await two.kill(leader)
    async with ClientSession() as session:
        with pytest.raises(Unavailable, match="does not answer"):
            await RemoteFeed(session, leader.url).exchange(FIRST, 0.0)


async def test_one_who_leads_no_more_gives_no_lease(two: ServedCandidates) -> None:
    leader, _ = await roles_of(two)
    assert leader.candidate.leadership.authority is not None
    feed = leader.candidate.own_feed
    assert feed is not None
    leader.candidate.leadership.authority.end("it was asked to")
    with pytest.raises(Unavailable, match="leads no more"):
        await feed.exchange(FIRST, 0.0)


async def test_of_two_gateways_with_one_name_the_second_is_refused(two: ServedCandidates) -> None:
    leader, _ = await roles_of(two)
    publisher = leader.candidate.controller.publisher
    async with ClientSession() as session:
        headers = controller_headers(
            Leader(name="x", url="", secret=leader.candidate.me.secret),
            Passed(caller=Caller(name="local", role="admin"), asked=True),
        )
        feed = RemoteFeed(session, leader.url, headers)
        here, there = (msgspec.structs.replace(FIRST, place=place) for place in ("here", "there"))
        await feed.exchange(here, 0.0)
        with pytest.raises(Rejected, match="409 Another gateway is called 'gateway-9'"):
            await feed.exchange(there, 0.0)
        await feed.exchange(here, 0.0)
    assert publisher.sessions["gateway-9"].place == "here"


async def test_nobody_waits_for_a_gateway_that_said_farewell(two: ServedCandidates) -> None:
    leader, _ = await roles_of(two)
    controller = leader.candidate.controller
    here = msgspec.structs.replace(FIRST, place="here")
    async with ClientSession() as session:
        headers = controller_headers(
            Leader(name="x", url="", secret=leader.candidate.me.secret),
            Passed(caller=Caller(name="local", role="admin"), asked=True),
        )
        feed = RemoteFeed(session, leader.url, headers)
        await feed.exchange(here, 0.0)
        assert "gateway-9" in {one.gateway for one in controller.publisher.live()}
        with pytest.raises(Rejected, match="409"):  # of another place: it may not speak for this one
            await feed.exchange(msgspec.structs.replace(here, place="there", leaving=True), 0.0)
        assert "gateway-9" in controller.state.gateways
        for _ in range(2):
            assert await feed.exchange(msgspec.structs.replace(here, leaving=True), 0.0) is None
            assert "gateway-9" not in {one.gateway for one in controller.publisher.live()}
            assert "gateway-9" not in controller.state.gateways
        await feed.exchange(here, 0.0)
        assert "gateway-9" in controller.state.gateways


def test_a_report_without_news_is_read_by_a_controller_older_than_what_there_may_be_to_tell() -> None:
    report = GatewayReport(gateway="edge", applied=7)
    assert msgspec.json.decode(msgspec.json.encode(report)) == {"gateway": "edge", "applied": 7}
    told = msgspec.structs.replace(report, cut={"i": 2})
    assert msgspec.json.decode(msgspec.json.encode(told), type=GatewayReport) == told
