"""user: asks for the operations of a schedule, one after the other, as people and their scripts do."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from coldchain.control.controller import Controller
from coldchain.control.operations import Operations
from coldchain.decisions.group import GroupUpdate
from coldchain.documents.group import GroupRequest
from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.group import GroupDeployment
from coldchain.ports.store import LostUpdate
from coldchain.testing.simulation.groups import ALL
from coldchain.testing.simulation.orphans import strike
from coldchain.testing.simulation.schedule import GOOD, Operation, Schedule, container, deadline_seconds
from coldchain.testing.simulation.world import World

HOLDS = ("cancel", "pause", "resume", "promote")
"""What is asked of a deployment: where the app's is part of a group's, of the whole."""
INSTANCES_MAX = 6
"""More of an app might not fit its agents."""
ASKED_AGAIN_SECONDS = 0.5
PATIENCE_SECONDS = 900.0


class User:
    """`outcomes`: what came of each operation, in words."""

    def __init__(self, world: World, schedule: Schedule) -> None:
        self._world = world
        self._schedule = schedule
        self._initial = {app.id: app for app in schedule.apps}
        self.outcomes: list[str] = []

    async def live(self) -> None:
        """Ask for everything that the schedule has."""
        for number, operation in enumerate(self._schedule.operations):
            await asyncio.sleep(operation.pause_seconds)
            if operation.phase is not None:
                await self._world.until(operation.phase, "" if operation.app_id == ALL else operation.app_id)
            self.outcomes.append(await self._ask(operation, f"user-{number}"))
            if self._schedule.patient:
                await self._ended(operation.app_id)

    async def mend(self) -> None:
        """Where a bad version is wanted, deploy a good one: only then can anything come to rest."""
        await self.let_go()
        drains = self._world.checkers.ledger.drains
        full = len(drains) == len(self._world.agents) or any(one.constraints for one in self._wanted())
        for agent in list(drains) if full else ():  # else there may be no place to go to
            operation = Operation(kind="end drain", app_id="", agent=agent, pause_seconds=0.0)
            await self._until_answered(operation, f"mend {agent}")
        for app_id in list(self._world.checkers.ledger.apps):
            wanted = self._world.checkers.ledger.wanted(app_id)
            if wanted is not None and _tag(wanted.app).partition("-")[0] not in GOOD:
                operation = Operation(kind="deploy", app_id=app_id, pause_seconds=0.0, force=True, image="good-100")
                await self._until_answered(operation, f"mend {app_id}")

    async def _ask(self, operation: Operation, caller: str) -> str:
        if operation.kind in ("orphan", "answer"):
            strike(self._world, operation)
            return "done"
        if operation.kind in ("heart stops", "registry away", "registry forgets"):
            if self._world.hearts is not None:
                self._world.hearts.strike(operation)
            return "done"
        if self._schedule.patient:
            return await self._until_answered(operation, caller)
        try:
            await self._once(operation, caller)
        except ColdchainError as error:
            return type(error).__name__
        return "done"

    async def _until_answered(self, operation: Operation, caller: str) -> str:
        """Ask until it is known whether it was done."""
        for _ in range(int(PATIENCE_SECONDS / ASKED_AGAIN_SECONDS)):
            try:
                await self._once(operation, caller)
            except (Unavailable, LostUpdate):
                await asyncio.sleep(ASKED_AGAIN_SECONDS)
            except ColdchainError as error:
                return type(error).__name__
            else:
                return "done"
            if self._was_done(caller):
                return "done"
        self._world.checkers.violated("answers", f"no answer to {operation.kind} in {PATIENCE_SECONDS:g} s")
        return "nothing"

    def _was_done(self, caller: str) -> bool:
        ledger = self._world.checkers.ledger
        told = [(one.cause, one.reason) for one in ledger.deployments.values()]
        told += [(one.cause, one.reason) for one in ledger.group_deployments.values()]
        return any(cause.endswith(f" by {caller}") or f"by {caller})" in reason for cause, reason in told)

    async def _once(self, operation: Operation, caller: str) -> None:
        """Ask, and be told so when the controller dies meanwhile."""
        world = self._world
        controller, existence = world.controller, world.existence
        if controller is None or existence.dead.is_set():
            raise Unavailable("the controller does not answer")
        group = controller.state.group_of(operation.app_id) if operation.kind in HOLDS else None
        order: Callable[[], Awaitable[Deployment | GroupDeployment | None]]
        if operation.kind in ("drain", "end drain"):
            order = self._agent_order(controller, operation, caller)
        elif operation.app_id == ALL or group is not None:
            world.checkers.asking = ALL
            order = self._group_order(controller, operation, caller, group)
        else:
            world.checkers.asking = operation.app_id
            order = self._order(controller.operations, operation, caller)
        asking = asyncio.ensure_future(order())
        death = asyncio.ensure_future(existence.dead.wait())
        await asyncio.wait({asking, death}, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if not asking.done() or existence.dead.is_set():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            world.checkers.asking = None
            raise Unavailable("the controller died")
        world.checkers.asking = None
        deployment = asking.result()
        if deployment is not None:
            self._check_acknowledged(deployment)

    def _order(
        self, operations: Operations, operation: Operation, caller: str
    ) -> Callable[[], Awaitable[Deployment | None]]:
        app_id, force = operation.app_id, operation.force
        ledger = self._world.checkers.ledger
        match operation.kind:
            case "create":
                return lambda: operations.create(self._initial[app_id], caller)
            case "restart":
                return lambda: operations.restart(app_id, caller, force=force)
            case "roll back":
                known = sorted(ledger.versions.get(app_id, {}))
                to = known[-1 - operation.back] if len(known) > operation.back else None
                return lambda: operations.roll_back(app_id, to, caller, force=force)
            case "delete":
                return lambda: operations.delete(app_id, caller, force=force)
            case "pause":
                return lambda: operations.pause(app_id)
            case "resume":
                return lambda: operations.resume(app_id)
            case "promote":
                return lambda: operations.promote(app_id)
            case "cancel":
                running = [one.id for one in ledger.deployments.values() if one.running and one.app_id == app_id]
                return lambda: operations.cancel(running[0] if running else "none", caller, force=force)
            case _:
                return lambda: operations.change(app_id, lambda app: self._edited(operation, app), caller, force=force)

    def _agent_order(self, controller: Controller, operation: Operation, caller: str) -> Callable[[], Awaitable[None]]:
        async def order() -> None:
            if operation.kind == "drain":
                await controller.agents.drain(operation.agent, caller)
            else:
                await controller.agents.end_drain(operation.agent)

        return order

    def _wanted(self) -> list[App]:
        ledger = self._world.checkers.ledger
        return [version.app for name in ledger.apps if (version := ledger.wanted(name))]

    def _group_order(
        self, controller: Controller, operation: Operation, caller: str, group: GroupDeployment | None
    ) -> Callable[[], Awaitable[GroupDeployment | None]]:
        operations, force = controller.group_operations, operation.force
        if operation.kind in HOLDS:
            known = [one for one in controller.state.group_deployments.values() if one.running]
            known.sort(key=lambda one: one.paused_at is None)
            name = group.id if group is not None else known[0].id if known else "none"
            if operation.kind == "cancel":
                return lambda: operations.cancel(name, caller, force=force)
            hold = {"pause": operations.pause, "resume": operations.resume, "promote": operations.promote}
            return lambda: hold[operation.kind](name)
        if operation.kind == "delete group":
            return lambda: operations.delete(ALL, caller, force=force)
        most = max((app.instances for app in controller.state.wanted_apps()), default=0)
        factor = operation.factor if most * operation.factor <= INSTANCES_MAX else 0.5
        request = GroupRequest(ALL, None, None, factor, {})
        if operation.kind == "roll back group":
            versions = sorted(controller.state.group_versions.get(ALL, ()))
            to = versions[-1 - operation.back] if len(versions) > operation.back else "none"
            request = request._replace(scale_by=None, version=to)
        elif operation.kind == "deploy group":
            apps = tuple(self._grouped(controller, operation, app) for app in self._schedule.apps)
            request = request._replace(scale_by=None, update=GroupUpdate(id=ALL, apps=apps))
        return lambda: operations.change(request, caller, force=force)

    def _grouped(self, controller: Controller, operation: Operation, app: App) -> App:
        """One app as a deploy of the group has it: as it is, but for image and dependencies."""
        current = controller.state.wanted(app.id)
        alone = msgspec.structs.replace(operation, app_id=app.id, image=operation.images.get(app.id))
        known = {one.id for one in self._schedule.apps}
        before = tuple(name for name in operation.before.get(app.id, ()) if name in known)
        return msgspec.structs.replace(self._edited(alone, current.app if current else None), dependencies=before)

    def _edited(self, operation: Operation, app: App | None) -> App:
        app = app or self._initial[operation.app_id]
        changes: dict[str, object] = {}
        if operation.image is not None:
            changes["container"] = container(operation.image)
            changes["deadline_seconds"] = deadline_seconds(operation.image, self._schedule.patient)
        if operation.instances is not None:
            changes["instances"] = operation.instances
        if operation.drain_seconds is not None:
            changes["drain_seconds"] = operation.drain_seconds
        return msgspec.structs.replace(app, **changes)

    def _check_acknowledged(self, deployment: Deployment | GroupDeployment) -> None:
        """I1 and I2: what the user was told is on record, the deployment and what it aims at."""
        ledger = self._world.checkers.ledger
        if isinstance(deployment, GroupDeployment):
            known = [ledger.deployments.get(name) for name in deployment.members.values()]
            if deployment.id not in ledger.group_deployments or None in known:
                self._world.checkers.violated("I2", f"group deployment {deployment.id} is not all on record")
            for member in known:
                if member is not None:
                    self._check_acknowledged(member)
            return
        if deployment.id not in ledger.deployments:
            self._world.checkers.violated("I2", f"deployment {deployment.id} was acknowledged and is not on record")
        elif deployment.app_id not in ledger.apps:
            return  # deleted while the answer was on its way
        elif deployment.to_version is not None and deployment.to_version not in ledger.versions[deployment.app_id]:
            self._world.checkers.violated("I1", f"version {deployment.to_version} was acknowledged and is not there")

    async def _ended(self, app_id: str) -> None:
        """Wait until no deployment of the app runs."""
        for _ in range(int(PATIENCE_SECONDS / ASKED_AGAIN_SECONDS)):
            ledger = self._world.checkers.ledger
            alone = [one for one in ledger.deployments.values() if one.running and app_id in (one.app_id, ALL)]
            if not alone and not any(one.running for one in ledger.group_deployments.values()):
                return
            await self.let_go(None if app_id == ALL else app_id)
            await asyncio.sleep(ASKED_AGAIN_SECONDS)

    async def let_go(self, app_id: str | None = None) -> None:
        """Let every deployment (of the app) go on that waits for somebody to say so."""
        if any(
            one.running and one.paused_at is not None for one in self._world.checkers.ledger.group_deployments.values()
        ):
            with contextlib.suppress(ColdchainError):
                await self._once(Operation(kind="resume", app_id=ALL, pause_seconds=0.0), "user")
        for one in list(self._world.checkers.ledger.deployments.values()):
            waits = one.running and one.paused_by in ("operator", "plan") and one.resumes_at is None
            if waits and app_id in (None, one.app_id):
                with contextlib.suppress(ColdchainError):
                    await self._once(Operation(kind="resume", app_id=one.app_id, pause_seconds=0.0), "user")


def _tag(app: App) -> str:
    return app.container.docker.image.rpartition(":")[2] if app.container else ""
