"""deployment: one move of an app from a version to another, with deadline and reason."""

from typing import Literal

from coldchain.model.base import Noun
from coldchain.model.gray import GrayRollout

DeploymentKind = Literal["start", "scale", "restart", "replace", "stop", "rollback"]
Holder = Literal["operator", "brake", "plan", "dependency"]
DeploymentState = Literal["running", "succeeded", "failed", "cancelled", "superseded"]


class Deployment(Noun, frozen=True, kw_only=True):
    """One move. Times in seconds since the epoch. `rollback_of` names the failed deployment that this one takes back.

    A rollback never causes another rollback. `steps_done`: how many steps of the app's rollout it has reached; all,
    where it does not go by steps. `gray`: what the gateways are told where it goes by shares of the requests, or takes
    one back that does. `paused_by`, `paused_at`: who holds it and since when; its time limit stands still meanwhile.
    `resumes_at`: when it goes on by itself; None: when whoever holds it says so. `part_of`: the group deployment that
    it is a member of; held by `dependency` it waits for a layer before its own.
    """

    id: str
    app_id: str
    target: str
    kind: DeploymentKind
    from_version: str | None
    to_version: str | None
    started_at: float
    deadline_at: float
    cause: str
    state: DeploymentState = "running"
    ended_at: float | None = None
    reason: str = ""
    rollback_of: str | None = None
    steps_done: int = 0
    gray: GrayRollout | None = None
    paused_by: Holder | None = None
    paused_at: float | None = None
    resumes_at: float | None = None
    part_of: str | None = None

    @property
    def running(self) -> bool:
        return self.state == "running"
