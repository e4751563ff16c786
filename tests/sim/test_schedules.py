"""Fault schedules drawn from a seed: everything at once for a while, then nothing; then all must come to rest."""

import random

from coldchain.model.errors import ColdchainError
from coldchain.model.rotation import Rotation
from coldchain.testing.fake_engine import Life
from coldchain.testing.faulty_store import Fault
from coldchain.testing.platform import Platform, example_app, image, run, to

STEPS = 12
FAULTS: list[Fault | None] = [None, None, None, None, "unavailable", "lost reply", "lost update"]


async def disturb(platform: Platform, draw: random.Random) -> None:
    """One thing that may happen."""
    engine, gateway = platform.engine, draw.choice(platform.gateways)
    running = [name for name, task in engine.held.items() if not task.status.terminal]
    match draw.choice(["crash", "vanish", "engine", "gateway", "forgets", "store", "restart", "requests"]):
        case "crash" if running:
            engine.crash(draw.choice(running))
        case "vanish" if running:
            engine.vanish(draw.choice(running))
        case "engine":
            engine.available = not engine.available
        case "gateway":
            gateway.available = not gateway.available
        case "forgets":
            gateway.rotation = Rotation()
        case "store":
            platform.store.silent = not platform.store.silent
        case "requests":
            gateway.in_flight = {name: draw.randrange(2) for name in platform.controller.state.instances}
        case "restart" if not platform.store.silent:
            await platform.kill()
            platform.store.fault = lambda number, changes: None
            await platform.start()


async def change(platform: Platform, draw: random.Random) -> None:
    """One thing that a user may ask for; refused or not."""
    operations = platform.controller.operations
    try:
        match draw.choice(["deploy", "bad", "scale", "restart", "cancel", "delete", "roll back"]):
            case "deploy" | "bad" as what:
                tag = "bad" if what == "bad" else f"v{draw.randrange(4)}"
                edit = to(container=image(tag), deadline_seconds=20.0)
                await operations.change("/shop", lambda app: edit(app or example_app()), "test", force=True)
            case "scale":
                await operations.change("/shop", to(instances=draw.randrange(5)), "test", force=True)
            case "restart":
                await operations.restart("/shop", "test", force=True)
            case "roll back":
                await operations.roll_back("/shop", None, "test", force=True)
            case "delete":
                await operations.delete("/shop", "test", force=True)
            case "cancel":
                for deployment in list(platform.controller.state.running.values()):
                    await operations.cancel(deployment.id, "test", force=draw.random() < 0.5)
    except (ColdchainError, AssertionError):
        pass


async def calm(platform: Platform) -> None:
    """No more faults."""
    platform.store.silent = False
    platform.store.fault = lambda number, changes: None
    platform.engine.available = True
    platform.engine.loses_reply = lambda operation: False
    platform.engine.loses_update = lambda status: False
    for gateway in platform.gateways:
        gateway.available = True
        gateway.in_flight = {}


def test_after_any_faults_all_comes_to_rest(schedules: int) -> None:
    for seed in range(schedules):

        async def program(platform: Platform, seed: int = seed) -> None:
            draw = random.Random(seed)
            platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""))
            await platform.ended(await platform.controller.operations.create(example_app(instances=3), "test"))
            platform.store.fault = lambda number, changes: draw.choice(FAULTS)
            platform.engine.loses_reply = lambda operation: draw.random() < 0.1
            platform.engine.loses_update = lambda status: draw.random() < 0.2
            for _ in range(STEPS):
                await platform.clock.sleep(draw.choice([0.01, 0.1, 0.5, 3.0]))
                await (change if draw.random() < 0.4 else disturb)(platform, draw)
            await calm(platform)
            state = platform.controller.state
            await platform.until(lambda: not state.running and not state.in_doubt, within=900.0)
            await platform.clock.sleep(30.0)  # tasks lost before are missed by now
            await platform.until(lambda: not state.running, within=900.0)
            version = state.wanted("/shop")
            if version is not None and "bad" not in str(version.app.container):
                await platform.until(lambda: len(platform.serving()) == version.app.instances, within=600.0)
                await platform.until(lambda: len(state.instances) == version.app.instances, within=120.0)
                live = {one.task_id for one in platform.instances()}
                await platform.until(lambda: set(platform.engine.held) == live, within=60.0)
                writes = platform.store.writes
                await platform.clock.sleep(60.0)
                assert platform.store.writes == writes, "not at rest"
            elif version is None:
                await platform.until(lambda: not platform.engine.held and not state.instances, within=120.0)
            await platform.until(
                lambda: all(one.rotation == platform.controller.publisher.rotation for one in platform.gateways)
            )

        run(program, seed, gateways=2)
