"""What `bin/bench mesos` compares: all sides launch the same tasks on a real agent in turns, and leave nothing."""

from coldchain.documents import keys
from coldchain.store.memory import MemoryStore
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos_launch_bench import BareSide, ControllerSide, EngineSide, Side, task_names, timed


async def test_all_sides_launch_in_turns_and_leave_nothing() -> None:
    store = MemoryStore()
    async with MesosLab() as lab:
        master = await lab.start_master()
        await lab.start_agent()
        await lab.registered(1)

        async def address() -> str:
            return master.address

        sides: tuple[Side, ...] = (
            BareSide(address),
            EngineSide("engine", address, store),
            ControllerSide("controller", address, store),
        )
        for side in sides * 2:
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
