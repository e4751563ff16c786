"""preview: what stands there now, copied for a rollout that is only played."""

from collections.abc import Callable, Sequence

import msgspec

from coldchain.control.controller import Controller
from coldchain.decisions import version as decide
from coldchain.decisions.acceptance import Observed
from coldchain.decisions.preview import Preview, preview
from coldchain.decisions.version import Change
from coldchain.model.app import App
from coldchain.model.errors import Unavailable
from coldchain.model.version import Override


def prepare(
    controller: Controller, app: App, now: float, overrides: Sequence[Override] = ()
) -> tuple[Change, Callable[[], Preview]]:
    """The change that a deploy of `app` would be, and what plays its rollout: pure, and long for a large app, so that
    it can be left to a thread. Nothing is stored.

    Raises InvalidDocument where routes belong to another app and for what admission refuses, Unavailable before the
    engine was listed.
    """
    if not controller.tasks.known:
        raise Unavailable("The engine has not said yet what runs", todo=controller.tasks.trouble)
    controller.operations.check_routes(app)
    controller.operations.check_instances(app)
    app = controller.operations.with_service_ports(app)
    controller.operations.check_dependencies(app)
    state = controller.state
    current = state.wanted(app.id)
    versions = state.versions.get(app.id, {})
    wanted = decide.next_version(current, app, now, last=max(versions, default=None))
    wanted = controller.operations.admitted(wanted, overrides)
    kind = decide.kind_of(current, wanted)
    running = state.running.get(app.id)
    change = decide.change(current, wanted, running, kind=kind, deployment_id="preview", cause=kind, now=now)
    view = msgspec.structs.replace(
        controller.reconciler.view(app.id),
        wanted=wanted,
        deployment=change.deployment,
        versions=versions | {wanted.id: wanted},
        image_failure="",
        traffic=Observed(),
    )
    others = [
        (one, state.app_of(one)) for one in state.instances.values() if one.agent is not None and one.app_id != app.id
    ]
    offers = tuple(controller.reconciler.offers())
    return change, lambda: preview(view, offers, others, now)
