"""run: one schedule, from its start until everything is at rest after the last fault."""

import asyncio
from collections import Counter

import structlog.testing

from coldchain.model.base import Noun
from coldchain.testing.simulated_loop import SimulatedLoop, simulate
from coldchain.testing.simulation.checkers import Violation
from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.schedule import Injection, Schedule
from coldchain.testing.simulation.user import User
from coldchain.testing.simulation.world import World

REST_WITHIN_SECONDS = 300.0
"""After the last fault: longer than any wait of the platform's own, such as a deadline, a backoff, a quarantine."""
FIXPOINT_SECONDS = 6.0
"""A platform at rest is watched for so long: longer than from one full listing to the next."""


class End(Noun, frozen=True, kw_only=True):
    """Where a life ended. `apps`: what is wanted of each app and how many instances of which images serve;
    `deployments`: kind, state and cause of each; `created`: tasks made, `deleted`: tasks ended by order, by app."""

    apps: dict[str, str]
    deployments: tuple[str, ...]
    created: dict[str, int]
    deleted: dict[str, int]


class Result(Noun, frozen=True, kw_only=True):
    """What came of a schedule. `seconds`: virtual. `killed`: tasks that faults ended, by app."""

    schedule: Schedule
    violations: tuple[Violation, ...]
    outcomes: tuple[str, ...]
    end: End
    killed: dict[str, int]
    seconds: float
    controllers: int


def run(schedule: Schedule) -> tuple[Result, Coverage]:
    """Run a schedule in virtual time."""
    loop = SimulatedLoop(schedule.seed)
    found: list[World] = []
    users: list[User] = []

    async def whole() -> None:
        world = World(loop, schedule)
        user = User(world, schedule)
        found.append(world)
        users.append(user)
        await _whole(world, user, schedule)

    with structlog.testing.capture_logs() as logs:
        simulate(whole(), loop)
    world = found[0]
    for entry in logs:
        if entry["log_level"] in ("error", "critical"):
            world.checkers.violated("alive", f"{entry}")
    result = Result(
        schedule=schedule,
        violations=tuple(world.checkers.violations),
        outcomes=tuple(users[0].outcomes),
        end=_end(world),
        killed=dict(world.killed),
        seconds=loop.time(),
        controllers=world.controllers,
    )
    return result, world.coverage


async def _whole(world: World, user: User, schedule: Schedule) -> None:
    supervisor = asyncio.create_task(world.supervise())
    injections = [asyncio.create_task(_inject(world, one)) for one in schedule.injections]
    await user.live()
    await asyncio.gather(*injections)
    world.calm()
    await _rest(world, user)
    for task in (supervisor, *world.feeds):
        if task.done():
            world.checkers.violated("alive", f"a loop ended: {task}")


async def _rest(world: World, user: User) -> None:
    """Without faults all comes to rest. A rollout of a good version that they held up may still end in a bad one."""
    limit = world.clock.monotonic() + REST_WITHIN_SECONDS
    while True:
        await user.mend()
        waits = restless(world)
        if not waits:
            await _fixpoint(world)
            return
        if world.clock.monotonic() > limit:
            world.checkers.violated("I12", f"not at rest {REST_WITHIN_SECONDS:g} s after the last fault: {waits}")
            return
        await asyncio.sleep(0.5)


async def _inject(world: World, injection: Injection) -> None:
    await asyncio.sleep(injection.at)
    aim = ""
    if injection.phase is not None:
        aim = await (world.until_left(injection.phase) if injection.leaving else world.until(injection.phase))
    world.inject(injection, aim)
    await asyncio.sleep(injection.seconds)
    world.end(injection)


def restless(world: World) -> str:
    """What is not as it should be in the end; empty when all is at rest."""
    ledger, controller = world.checkers.ledger, world.controller
    if controller is None or world.existence.dead.is_set() or controller.state.in_doubt:
        return "no controller, or one that just died or is in doubt"
    for one in ledger.deployments.values():
        if one.running:
            return f"{one}"
    for group in ledger.group_deployments.values():
        if group.running:
            return f"{group}"
    for instance in ledger.instances.values():
        if instance.phase != "serving" or instance.agent in ledger.drains:
            return f"{instance}"
        known = controller.health.health.get(instance.id)
        if known is not None and any(check.failed_in_a_row for check in known.checks):
            # What was asked while a fault held may be answered after it, and be one failure too many.
            return f"{instance.id} has failed its last question"
    for app_id, record in ledger.apps.items():
        wanted = ledger.wanted(app_id)
        assert wanted is not None, record
        if wanted.image is None and wanted.app.instances:
            return f"the image of {app_id} is not known"
        if any(one.status.orphaned for one in world.engine.held.values()):
            return "somebody has to replace what nobody answers for"
        serving = ledger.instances_of(app_id)
        if len(serving) != wanted.app.instances:
            return f"{len(serving)} instead of {wanted.app.instances} instances of {app_id}"
    held = {one.spec.instance_id for one in world.engine.held.values() if one.status.state == "running"}
    if held != set(ledger.instances) or len(held) != len(world.engine.held):
        return f"the engine runs other tasks than the records have: {held ^ set(ledger.instances)}"
    for gateway in world.gateways:
        if gateway.rotation != controller.publisher.rotation:
            return f"{gateway.name} has another rotation"
    needed, gone = ledger.needed(), ledger.versions.keys() - ledger.apps.keys()
    left = [app_id for app_id in gone if any((app_id, name) not in needed for name in ledger.versions[app_id])]
    if left:
        return f"versions of apps that are gone: {left}"
    return ""


async def _fixpoint(world: World) -> None:
    """At rest a further pass does nothing, and what the controller believes is what is on record."""
    controller = world.controller
    assert controller is not None
    written, created = world.writes, Counter(world.engine.created)
    controller.reconciler.mark_all()
    await asyncio.sleep(FIXPOINT_SECONDS)
    if world.writes != written or world.engine.created != created:
        world.checkers.violated("I20", f"{world.writes - written} writes at rest")
    if controller.state._records != world.checkers.ledger.records:
        world.checkers.violated("whole", "the controller's records are not those of the store")
    for gateway in world.gateways:
        for name, service in gateway.rotation.services.items():
            wanted = {one.id for one in world.checkers.ledger.instances.values()}
            if not {one.instance_id for one in service.endpoints} <= wanted:
                world.checkers.violated("I15", f"{gateway.name} has ghosts in {name}")


def _end(world: World) -> End:
    ledger = world.checkers.ledger
    apps = {}
    for app_id in ledger.apps:
        wanted = ledger.wanted(app_id)
        running = Counter(one.spec.image for one in world.engine.held.values() if one.spec.app_id == app_id)
        apps[app_id] = f"{wanted.app if wanted else None} {wanted.image if wanted else None} {dict(running)}"
    deployments = sorted(f"{one.app_id} {one.kind} {one.state}" for one in ledger.deployments.values())
    deployments += sorted(f"{one.group_id} {one.kind} {one.state}" for one in ledger.group_deployments.values())
    return End(
        apps=apps, deployments=tuple(deployments), created=dict(world.engine.created), deleted=dict(world.deleted)
    )
