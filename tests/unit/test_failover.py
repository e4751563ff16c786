"""Two controllers of one store behind their APIs: the standby answers and passes on, and takes over."""

import asyncio
from typing import Any

from aiohttp import ClientSession

from coldchain.cli.client import Client
from coldchain.testing.served_candidates import Served, ServedCandidates, served_candidates

SHOP = {
    "id": "/shop",
    "instances": 3,
    "cpus": 0.1,
    "mem": 16,
    "container": {"type": "DOCKER", "docker": {"image": "shop:1"}, "portMappings": [{"containerPort": 8080}]},
    "env": {"RELEASE": "1"},
    "healthChecks": [{"path": "/health", "intervalSeconds": 1, "timeoutSeconds": 1}],
    "upgradeStrategy": {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.0},
}


async def standby_of(served: ServedCandidates) -> tuple[Served, Served]:
    leader = await served.led()
    return leader, next(one for one in served.all if one is not leader)


async def ask(session: ClientSession, method: str, url: str, **sent: Any) -> tuple[int, Any, dict[str, str]]:
    async with session.request(method, url, allow_redirects=False, **sent) as answer:
        return answer.status, await answer.json(content_type=None), dict(answer.headers)


async def ended(session: ClientSession, served: ServedCandidates, name: str) -> str:
    """How a deployment ended, asked of whoever leads."""
    while True:
        leader = await served.led()
        status, found, _ = await ask(session, "GET", f"{leader.url}/v1/deployments/{name}")
        if status == 200 and found["state"] != "running":
            return str(found["state"])
        await asyncio.sleep(0.02)


async def test_a_standby_passes_a_write_on_and_its_reader_sees_it_at_once() -> None:
    async with served_candidates() as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        status, created, headers = await ask(session, "POST", f"{standby.url}/v2/apps", json=SHOP)
        assert status == 201
        assert headers["X-Marathon-Leader"] == leader.url
        status, versions, _ = await ask(session, "GET", f"{standby.url}/v2/apps//shop/versions")
        assert (status, versions["versions"]) == (200, [created["version"]])
        status, app, _ = await ask(session, "GET", f"{standby.url}/v2/apps//shop")
        assert (status, app["app"]["version"]) == (200, created["version"])
        assert await ended(session, served, created["deployments"][0]["id"]) == "succeeded"


async def test_the_leader_is_named_by_both_and_the_stream_is_sent_to_it() -> None:
    async with served_candidates() as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        for one in (leader, standby):
            status, found, headers = await ask(session, "GET", f"{one.url}/v2/leader")
            assert (status, found) == (200, {"leader": leader.candidate.me.address})
            assert headers["X-Marathon-Leader"] == leader.url
            _, info, _ = await ask(session, "GET", f"{one.url}/v2/info")
            assert (info["elected"], info["leader"]) == (one is leader, leader.candidate.me.address)
        stream = {"Accept": "text/event-stream"}
        async with session.get(f"{standby.url}/v2/events?a=b", headers=stream, allow_redirects=False) as answer:
            assert answer.status == 307
            assert answer.headers["Location"] == f"{leader.url}/v2/events?a=b"


async def test_a_request_that_goes_round_is_refused() -> None:
    async with served_candidates() as served, ClientSession() as session:
        _, standby = await standby_of(served)
        round_about = {"X-Marathon-Via": standby.url}
        status, said, _ = await ask(session, "GET", f"{standby.url}/v2/apps", headers=round_about)
        assert status == 502
        assert "goes round" in said["message"]


async def test_who_abdicates_is_followed_by_another() -> None:
    async with served_candidates() as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        status, _, _ = await ask(session, "DELETE", f"{standby.url}/v2/leader")
        assert status == 200
        while served.leader() is not standby:
            await asyncio.sleep(0.01)
        assert (await served.led()) is standby
        status, found, _ = await ask(session, "GET", f"{leader.url}/v2/leader")
        assert found == {"leader": standby.candidate.me.address}


async def test_a_write_while_nobody_leads_waits_for_who_takes_over() -> None:
    async with served_candidates() as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        await served.kill(leader)
        status, _, headers = await ask(session, "POST", f"{standby.url}/v2/apps", json=SHOP)
        assert (status, headers["X-Marathon-Leader"]) == (201, standby.url)


async def test_while_nobody_leads_for_long_that_is_said() -> None:
    async with served_candidates(leader_wait_seconds=0.02) as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        standby.candidate.leadership.rest(1000.0)
        await served.kill(leader)
        while standby.candidate.leadership.leader is not None:
            await asyncio.sleep(0.01)
        for method, path in (("GET", "/v2/apps"), ("POST", "/v2/apps"), ("GET", "/v2/leader")):
            status, said, headers = await ask(session, method, f"{standby.url}{path}")
            assert status == 503
            assert "No controller leads" in said["message"]
            assert headers["Retry-After"] == "1"
        status, _, _ = await ask(session, "GET", f"{standby.url}/v2/apps//shop/versions")
        assert status == 404


RECORDED = (
    "/v2/groups",
    "/v2/groups/shops?embed=group.apps&embed=group.apps.lastTaskFailure&embed=group.apps.deployments",
    "/v2/groups/shops/versions",
    "/v2/deployments",
    "/v2/apps//shops/shop/versions",
    "/v1/apps//shops/shop/history",
    "/v1/instances/{instance}/story",
)
LIVE = (
    "/v2/apps",
    "/v2/apps//shops/shop",
    "/v2/groups?embed=group.apps.counts",
    "/v2/tasks",
    "/v2/queue",
    "/v1/status",
)


async def test_what_stands_on_record_a_standby_answers_as_the_leader_did_and_what_does_not_it_makes_not_up() -> None:
    async with served_candidates(leader_wait_seconds=0.02) as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        _, created, _ = await ask(session, "POST", f"{leader.url}/v2/apps", json={**SHOP, "id": "/shops/shop"})
        assert await ended(session, served, created["deployments"][0]["id"]) == "succeeded"
        names = {"instance": next(iter(leader.candidate.controller.state.instances))}
        paths = [path.format_map(names) for path in RECORDED]
        told = {path: (await ask(session, "GET", leader.url + path))[1] for path in paths}
        standby.candidate.leadership.rest(1000.0)
        await served.kill(leader)
        while standby.candidate.leadership.leader is not None:
            await asyncio.sleep(0.01)
        for path in paths:
            status, found, _ = await ask(session, "GET", standby.url + path)
            assert (status, found) == (200, told[path]), path
        for path in LIVE:
            assert (await ask(session, "GET", standby.url + path))[0] == 503, path


async def test_the_secret_of_another_controller_opens_nothing() -> None:
    async with served_candidates() as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        shown = {"Coldchain-Controller-Secret": standby.candidate.me.secret}
        status, _, _ = await ask(session, "GET", f"{leader.url}/v2/apps", headers=shown)
        assert status == 401


async def test_callers_are_who_they_are_by_whichever_controller_they_come() -> None:
    async with served_candidates() as served, ClientSession() as session:
        _, standby = await standby_of(served)
        made = []
        for name, role in (("root", "admin"), ("ann", "viewer")):
            bearer = {"Authorization": f"Bearer {made[0]}"} if made else {}
            status, token, _ = await ask(
                session, "POST", f"{standby.url}/v1/tokens", json={"name": name, "role": role}, headers=bearer
            )
            assert status == 201
            made.append(token["token"])
        root, ann = ({"Authorization": f"Bearer {one}"} for one in made)
        assert (await ask(session, "GET", f"{standby.url}/v2/apps"))[0] == 401
        assert (await ask(session, "GET", f"{standby.url}/v1/tokens"))[0] == 401
        assert (await ask(session, "GET", f"{standby.url}/v1/tokens", headers=ann))[0] == 403
        assert (await ask(session, "POST", f"{standby.url}/v2/apps", json=SHOP, headers=ann))[0] == 403
        assert (await ask(session, "POST", f"{standby.url}/v2/apps", json=SHOP, headers=root))[0] == 201
        _, audit, _ = await ask(session, "GET", f"{standby.url}/v1/audit", headers=root)
        assert {one["caller"] for one in audit["entries"]} == {"local", "root", "ann"}


async def test_the_leader_dies_in_the_middle_of_a_rollout_which_goes_on() -> None:
    async with served_candidates() as served, ClientSession() as session:
        leader, standby = await standby_of(served)
        _, created, _ = await ask(session, "POST", f"{leader.url}/v2/apps", json=SHOP)
        assert await ended(session, served, created["deployments"][0]["id"]) == "succeeded"
        _, still, _ = await ask(session, "POST", f"{leader.url}/v2/apps", json={**SHOP, "id": "/still"})
        assert await ended(session, served, still["deployments"][0]["id"]) == "succeeded"
        kept = sorted(task for task, one in served.engine.held.items() if one.spec.app_id == "/still")
        newer = {"env": {"RELEASE": "2"}}
        _, moved, _ = await ask(session, "PUT", f"{standby.url}/v2/apps//shop", json=newer)
        while not any(
            one.spec.app.env["RELEASE"] == "2" and one.status.state == "running" for one in served.engine.held.values()
        ):
            await asyncio.sleep(0.01)
        new = {task for task, one in served.engine.held.items() if one.spec.version_id == moved["version"]}
        await served.kill(leader)
        assert await ended(session, served, moved["deploymentId"]) == "succeeded"
        assert (await served.led()) is standby
        live = {task: one for task, one in served.engine.held.items() if not one.status.terminal}
        assert sorted(task for task, one in live.items() if one.spec.app_id == "/still") == kept
        shop = {task for task, one in live.items() if one.spec.app_id == "/shop"}
        assert new <= shop
        assert len(shop) == 3
        assert served.engine.created == {"/shop": 6, "/still": 3}


async def test_a_command_finds_the_one_that_is_left_and_the_stream_of_the_leader() -> None:
    async with served_candidates() as served:
        leader, standby = await standby_of(served)
        async with Client(f"{standby.url},{leader.url}") as client:
            lines = client.lines("/v2/events", headers=[("Accept", "text/event-stream")])
            assert await anext(lines) == ": events follow"
            await lines.aclose()  # type: ignore[attr-defined]
        async with Client(f"{leader.url},{standby.url}") as client:
            assert (await client.get("/v2/leader"))["leader"] == leader.candidate.me.address
            await served.kill(leader)
            await served.led()
            assert (await client.get("/v2/leader"))["leader"] == standby.candidate.me.address
