"""The lab itself: what tests of the engine and of the executor rely on."""

from coldchain.testing.mesos.bare_scheduler import BareScheduler
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, FaultDomain, MasterSettings

QUICK = AgentSettings(executor_reregistration_timeout_seconds=0.5)


async def test_agents_register_with_what_sets_them_apart() -> None:
    settings = AgentSettings(
        hostname="one.test",
        attributes={"rack": "a", "disk": "ssd"},
        resources="cpus:2;mem:512;ports:[20000-20010]",
        domain=FaultDomain(region="north", zone="n1"),
    )
    async with MesosLab() as lab:
        await lab.start_master(MasterSettings(domain=FaultDomain(region="north", zone="n1")))
        one = await lab.start_agent(settings)
        await lab.start_agent()
        await lab.registered(2)
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer("one.test")
            other = await scheduler.offer("agent-2")
    assert {each["name"]: each["text"]["value"] for each in offer["attributes"]} == {"rack": "a", "disk": "ssd"}
    assert offer["domain"]["fault_domain"] == {"region": {"name": "north"}, "zone": {"name": "n1"}}
    assert {each["name"] for each in offer["resources"]} == {"cpus", "mem", "ports", "disk"}
    assert "attributes" not in other
    assert one.hostname == "one.test"


async def test_a_task_goes_on_while_its_agent_is_killed_and_started_again() -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent(QUICK)
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer()
            await scheduler.launch(offer, scheduler.task("stays", offer))
            running = await scheduler.update("stays", "TASK_RUNNING")
            before = await agent.agent_id()
            await agent.restart()
            assert await agent.agent_id() == before
            assert running["container_status"]["executor_pid"] in agent.processes
            assert await lab.operator.twice_counted() == []
            assert (await lab.operator.used())["agent-1"]["cpus"] == 0.2
            await scheduler.kill("stays")
            await scheduler.update("stays", "TASK_KILLED")
