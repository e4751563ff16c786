"""What the library at hand can do of Mesos, each tried from a framework's side. docs/design/mesos.md lists the rest."""

import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from coldchain.model.errors import Rejected
from coldchain.testing.mesos.bare_scheduler import CAPABILITIES, BareScheduler, scalar
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, FaultDomain, MasterSettings

SHORT_SECONDS = 0.5
"""Ten rounds of offers: enough for what must not come."""


async def test_everything_over_tls_with_a_password() -> None:
    async with MesosLab(tls=True) as lab:
        await lab.start_master(MasterSettings(credentials={"shop": "secret"}))
        agent = await lab.start_agent()
        await lab.registered(1)
        assert agent.url.startswith("https://")
        for credential in (None, ("shop", "wrong")):
            with pytest.raises(aiohttp.ClientResponseError) as refused:
                async with BareScheduler(lab, credential=credential):
                    pass
            assert refused.value.status == 401
            assert refused.value.headers is not None
            assert refused.value.headers["WWW-Authenticate"] == 'Basic realm="mesos-master-scheduler"'
        async with BareScheduler(lab, credential=("shop", "secret")) as scheduler:
            offer = await scheduler.offer()
            await scheduler.launch(offer, scheduler.task("task", offer))
            await scheduler.update("task", "TASK_RUNNING")
        with pytest.raises(aiohttp.ClientConnectionError):  # who does not trust the authority does not get in
            async with aiohttp.ClientSession() as stranger:
                await stranger.get(f"{lab.masters[0].url}/health")


async def test_a_reservation_is_offered_to_its_role_alone() -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent(AgentSettings(resources="cpus:2;mem:512;ports:[20000-20010];disk:100"))
        reserved = {"reservations": [{"type": "DYNAMIC", "role": "shop"}]}
        resource = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}, **reserved}
        fields = {"agent_id": {"value": await agent.agent_id()}, "resources": [resource]}
        await lab.operator.call("RESERVE_RESOURCES", reserve_resources=fields)
        async with BareScheduler(lab, roles=["other"]) as other:
            assert cpus(await other.offer()) == {"*": 0.5}
        refined = (*CAPABILITIES, "RESERVATION_REFINEMENT")
        async with BareScheduler(lab, roles=["shop"], capabilities=refined) as scheduler:
            offer = await scheduler.offer()
            assert cpus(offer) == {"*": 0.5, "shop": 1.5}
            task = scheduler.command_task("task", offer, "exec sleep inf")
            task["resources"] = [scalar("cpus", 1.0, "shop") | reserved, scalar("mem", 16, "shop")]
            await scheduler.launch(offer, task)
            await scheduler.update("task", "TASK_RUNNING")
            assert cpus(await scheduler.offer()) == {"*": 0.5, "shop": 0.5}
        await lab.operator.call("UNRESERVE_RESOURCES", unreserve_resources=fields)


async def test_a_quota_limits_what_a_role_is_offered() -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        await lab.start_agent()
        await lab.start_agent()
        limits = {"cpus": {"value": 1}, "mem": {"value": 128}}
        configuration = {"role": "limited", "limits": limits, "guarantees": {}}
        await lab.operator.call("UPDATE_QUOTA", update_quota={"force": True, "quota_configs": [configuration]})
        await lab.registered(2)
        async with BareScheduler(lab, roles=["limited"]) as scheduler:
            assert cpus(await scheduler.offer()) == {"*": 1.0}
            with pytest.raises(AssertionError):
                await scheduler.offer(patience_seconds=SHORT_SECONDS)


async def test_weights_of_roles_are_told() -> None:
    async with MesosLab() as lab:
        await lab.start_master(MasterSettings(weights={"shop": 2.0}))
        answer = await lab.operator.call("GET_WEIGHTS")
    assert answer["get_weights"]["weight_infos"] == [{"role": "shop", "weight": 2.0}]


async def test_another_region_is_offered_only_to_who_knows_regions() -> None:
    here, there = FaultDomain(region="north", zone="n1"), FaultDomain(region="south", zone="s1")
    async with MesosLab() as lab:
        await lab.start_master(MasterSettings(domain=here))
        await lab.start_agent(AgentSettings(domain=here))
        await lab.start_agent(AgentSettings(domain=there))
        await lab.registered(2)
        async with BareScheduler(lab) as scheduler:
            assert (await scheduler.offer())["hostname"] == "agent-1"
            with pytest.raises(AssertionError):
                await scheduler.offer(patience_seconds=SHORT_SECONDS)
        async with BareScheduler(lab, capabilities=(*CAPABILITIES, "REGION_AWARE")) as scheduler:
            domain = (await scheduler.offer("agent-2"))["domain"]["fault_domain"]
    assert domain == {"region": {"name": "south"}, "zone": {"name": "s1"}}


async def test_maintenance_is_planned_answered_begun_and_ended() -> None:
    machine = {"hostname": "agent-1", "ip": "127.0.0.1"}
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent()
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer()
            await scheduler.launch(offer, scheduler.task("task", offer))
            await scheduler.update("task", "TASK_RUNNING")
            await lab.operator.schedule_maintenance(["agent-1"], time.time() + 60, 600)
            event = await scheduler.event("INVERSE_OFFERS")
            inverse = event["inverse_offers"]["inverse_offers"][0]
            assert (await scheduler.offer())["unavailability"] == inverse["unavailability"]
            await scheduler.call("ACCEPT_INVERSE_OFFERS", accept_inverse_offers={"inverse_offer_ids": [inverse["id"]]})
            answer = await lab.operator.call("GET_MAINTENANCE_STATUS")
            draining = answer["get_maintenance_status"]["status"]["draining_machines"]
            assert [(one["id"], one["statuses"][0]["status"]) for one in draining] == [(machine, "ACCEPT")]
            with pytest.raises(
                Rejected, match="maintenance schedule"
            ):  # the two ways to empty an agent exclude each other
                await lab.operator.drain(await agent.agent_id())
            await lab.operator.call("START_MAINTENANCE", start_maintenance={"machines": [machine]})
            await scheduler.update("task", "TASK_LOST")
            await agent.ended()
            await lab.operator.call("STOP_MAINTENANCE", stop_maintenance={"machines": [machine]})
            agent.start()
            await lab.registered(1)


async def test_a_drained_agent_is_offered_again_when_it_is_reactivated() -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent()
        identity = await agent.agent_id()
        await lab.operator.drain(identity, grace_seconds=7.5)
        (told,) = await lab.operator.agents()
        grace = {"nanoseconds": 7_500_000_000}
        assert told["drain_info"] == {"state": "DRAINED", "config": {"max_grace_period": grace, "mark_gone": False}}
        async with BareScheduler(lab) as scheduler:
            with pytest.raises(AssertionError):
                await scheduler.offer(patience_seconds=SHORT_SECONDS)
            await lab.operator.reactivate(identity)
            await scheduler.offer()


def cpus(offer: Mapping[str, Any]) -> dict[str, float]:
    """By role."""
    found: dict[str, float] = {}
    for one in offer["resources"]:
        if one["name"] == "cpus":
            role = one["reservations"][-1]["role"] if one.get("reservations") else one.get("role", "*")
            found[role] = found.get(role, 0.0) + one["scalar"]["value"]
    return found
