"""What a pass does for an app grows with its instances, and not with their square: calls are counted, not time."""

from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.documents.application import decode_app
from coldchain.engines.fake import FakeAgents, fake_offers
from coldchain.store.memory import MemoryStore
from coldchain.testing.counted_calls import counted_calls
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.scale_bench import definition


async def calls_to_place(copies: int) -> int:
    """Calls of the pass that places all instances of an app."""
    clock = SystemClock()
    engine = FakeAgents(clock, agents=fake_offers(4, target="cluster", cpus=64.0, mem=262144.0))
    controller = Controller(MemoryStore(), engine, FakeProber(clock), clock)
    await controller.start()
    await controller.tasks.list_now()
    await controller.operations.create(decode_app(definition(0, copies)), "test")
    state = controller.state
    await controller.reconciler.once(state.apps)
    while any(one.image is None for one in state.versions["/team-0/app-0"].values()):
        await clock.sleep(0)
    await controller.reconciler.once(state.apps)
    assert [one.phase for one in state.instances.values()] == ["scheduled"] * copies
    with counted_calls() as calls:
        await controller.reconciler.once(state.apps)
    assert [one.phase for one in state.instances.values()] == ["launching"] * copies
    await controller.reconciler.stop()
    await engine.close()
    return calls.number


async def test_four_times_the_instances_take_four_times_the_calls() -> None:
    few, many = await calls_to_place(60), await calls_to_place(240)
    assert few * 2 < many < few * 5, (few, many)
