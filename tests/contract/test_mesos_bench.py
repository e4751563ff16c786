"""What `bin/bench mesos` compares: both sides launch the same tasks on a real agent in turns, and leave nothing."""

from coldchain.documents import keys
from coldchain.store.memory import MemoryStore
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos_bench import BareSide, EngineSide, task_names, timed


async def test_both_sides_launch_in_turns_and_leave_nothing() -> None:
    store = MemoryStore()
    async with MesosLab() as lab:
        master = await lab.start_master()
        await lab.start_agent()
        await lab.registered(1)

        async def address() -> str:
            return master.address

        for side in (BareSide(address), EngineSide("memory", address, store)) * 2:
            await side.begin(1)
            turn = await timed(side, task_names(5, ["agent-1"]))
            listed = (await lab.operator.tasks())["tasks"]
            assert [one["state"] for one in listed] == ["TASK_RUNNING"] * 5
            assert len(turn.since_accept) == 5
            assert 0 < max(turn.since_accept) <= turn.seconds
            await side.clear()
            await side.end()
            assert (await lab.operator.tasks())["tasks"] == []
            assert (await store.list(keys.mesos_tasks("cluster"))).entries == ()
