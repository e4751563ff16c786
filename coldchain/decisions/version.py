"""version: which version and which deployment a user's change makes."""

from typing import Literal

import msgspec

from coldchain.decisions import gray as grays
from coldchain.decisions.reconcile import version_id
from coldchain.decisions.rollout import steps_done_at_start
from coldchain.model.app import App, same_configuration
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment, DeploymentKind, DeploymentState
from coldchain.model.version import AppRecord, Version

Ending = Literal["superseded", "cancelled"]


class Change(Noun, frozen=True, kw_only=True):
    """What must be written for a change of an app: all of it or nothing. `ended`: the deployment it takes over from.
    `version` and `record` None: the app is deleted."""

    version: Version | None
    record: AppRecord | None
    deployment: Deployment
    ended: Deployment | None = None


def next_version(
    current: Version | None, app: App, now: float, *, last: str | None = None, restart: bool = False
) -> Version:
    """The version that aims at `app`, with an id after `last`, the last known of the app: one that was deleted may have
    versions on record as long as its instances stop.

    With the same configuration it keeps configuration id and image, so that tasks that run serve on; a restart makes
    a new configuration, and its tag is resolved anew. Both keep the overrides of admission's rules; whoever changes
    more has to say them again.
    """
    name = version_id(now, last or (current.id if current else None))
    if current is not None and not restart and same_configuration(current.app, app):
        return Version(app=app, id=name, config_id=current.config_id, image=current.image, overrides=current.overrides)
    return Version(app=app, id=name, config_id=name, overrides=current.overrides if current and restart else ())


def change(
    current: Version | None,
    wanted: Version | None,
    running: Deployment | None,
    *,
    kind: DeploymentKind,
    deployment_id: str,
    cause: str,
    now: float,
    ending: Ending = "superseded",
) -> Change:
    """The records of a move from `current` to `wanted` (one of them not None)."""
    app = (wanted or current).app  # type: ignore[union-attr]
    ended = None
    if running is not None:
        reason = f"{ending} by {deployment_id} ({cause})"
        ended = end(running, ending, reason, now)
    steps, steps_done = len(app.rollout.steps), steps_done_at_start(kind, current, wanted, running)
    return Change(
        version=wanted,
        record=None
        if wanted is None
        else AppRecord(app_id=app.id, version_id=wanted.id, target=app.target, cause=cause),
        deployment=Deployment(
            id=deployment_id,
            app_id=app.id,
            target=app.target,
            kind=kind,
            from_version=_fallback(current, running),
            to_version=wanted.id if wanted else None,
            started_at=now,
            deadline_at=now + app.deadline_seconds,
            cause=cause,
            steps_done=steps_done,
            gray=grays.begun(kind, current, wanted, running, stepwise=steps_done < steps),
        ),
        ended=ended,
    )


def end(running: Deployment, state: DeploymentState, reason: str, now: float) -> Deployment:
    """The deployment as it ended."""
    return msgspec.structs.replace(running, state=state, ended_at=now, reason=reason)


def _fallback(current: Version | None, running: Deployment | None) -> str | None:
    """Where a rollback leads: to the last version that a deployment reached, not to one that was still on its way."""
    if running is None:
        return current.id if current else None
    return running.to_version if running.rollback_of is not None else running.from_version


def kind_of(current: Version | None, wanted: Version) -> DeploymentKind:
    """What to call the move."""
    if current is None:
        return "start"
    return "scale" if current.config_id == wanted.config_id else "replace"
