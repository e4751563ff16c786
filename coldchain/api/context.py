"""context: what handlers look things up in: the controller's records and observations, as the answers want them."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Any

from aiohttp import web

from coldchain.api.settings import ApiSettings
from coldchain.control.attempts import Attempts
from coldchain.control.candidate import Candidate
from coldchain.control.controller import Controller
from coldchain.documents.answers import InstanceView, app_answer, task_answer
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Conflict, NotFound
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Instance
from coldchain.model.version import Version


class Context:
    """One for each server. `stopping` is set when streams must end; `address` is where the server listens; `exposed`:
    others than this machine reach it, so that everybody is asked who he is."""

    def __init__(self, served: Controller | Candidate, settings: ApiSettings, *, exposed: bool = False) -> None:
        self.candidate = served if isinstance(served, Candidate) else None
        self._controller = served.controller if isinstance(served, Candidate) else served
        self.settings = settings
        self.address = ""
        self.exposed = exposed
        self.attempts = Attempts()
        self.stopping = asyncio.Event()

    @property
    def controller(self) -> Controller:
        """The one there is; of a candidate the one that leads or stands by at this moment."""
        return self._controller

    @property
    def stands_by(self) -> bool:
        """Whether another controller leads, or none."""
        return self.candidate is not None and not self.candidate.leads

    def change_over(self, controller: Controller) -> None:
        """From now on this controller is asked. The streams of the one before end: whoever follows asks again."""
        before, self._controller = self._controller, controller
        self.stopping.set()
        before.events.wake()
        self.stopping = asyncio.Event()

    def instances(self, app_id: str) -> list[Instance]:
        """All instances of an app on record, the oldest first."""
        found = self.controller.state.instances_of.get(app_id, {}).values()
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def view(self, instance: Instance) -> InstanceView:
        """The instance with what engine and probes say of it."""
        return InstanceView(
            instance=instance,
            status=self.controller.tasks.tasks.get(instance.task_id),
            health=self.controller.health.health.get(instance.id),
        )

    def wanted(self, app_id: str) -> Version:
        """The version aimed at. Raises NotFound."""
        version = self.controller.state.wanted(app_id)
        if version is None:
            raise unknown_app(app_id)
        return version

    def app(self, app_id: str, embed: Collection[str]) -> dict[str, Any]:
        """The app as `/v2/apps` shows it, with what `embed` names."""
        state = self.controller.state
        running = state.move_of(app_id)
        return app_answer(
            self.wanted(app_id),
            [self.view(one) for one in self.instances(app_id)],
            now=self.settings.clock.now(),
            embed=embed,
            deployments=[running] if running else [],
            last_failure=state.failures.get(app_id),
            app_of=state.app_of,
        )

    def members(self, group: GroupDeployment) -> list[Deployment]:
        """The members of a group deployment that run."""
        deployments = self.controller.state.deployments
        found = [one for name in group.members.values() if (one := deployments.get(name)) is not None]
        return [one for one in found if one.running]

    def tasks(self, instances: Iterable[Instance], *, own: bool) -> list[dict[str, Any]]:
        """Their tasks, each read by its own definition; those that have none are left out. `own`: with the fields that
        only Coldchain has."""
        app_of = self.controller.state.app_of
        views = [self.view(one) for one in instances]
        return [task_answer(app_of(view.instance), view, own=own) for view in views if view.state is not None]

    def instance(self, name: str, app_id: str | None = None) -> Instance:
        """The instance with this id, or the only one whose id or task id begins so. Raises NotFound, Conflict."""
        among = self.instances(app_id) if app_id else self.controller.state.instances.values()
        found = [one for one in among if one.id.startswith(name) or one.task_id.startswith(name)]
        exact = [one for one in found if name in (one.id, one.task_id)]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if not found:
            raise NotFound(
                f"Instance '{name}' does not exist" + (f" in {app_id}" if app_id else ""),
                todo="`coldchain status APP` lists instances; stopped ones are kept for a short time only.",
            )
        listed = ", ".join(sorted(one.id for one in found)[:5])
        raise Conflict(f"{len(found)} instances begin with '{name}'", todo=f"Give more of the id, such as of {listed}.")


def unknown_app(app_id: str) -> NotFound:
    """The error for an app that is not there, in Marathon's words."""
    return NotFound(f"App '{app_id}' does not exist", todo="`coldchain status` lists all apps.")


CONTEXT = web.AppKey("context", Context)


def context_of(request: web.Request) -> Context:
    return request.app[CONTEXT]
