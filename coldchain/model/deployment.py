"""deployment: one move of an app from a version to another, with deadline and reason."""

from typing import Literal

from coldchain.model.base import Noun

DeploymentKind = Literal["start", "scale", "restart", "replace", "stop", "rollback"]
DeploymentState = Literal["running", "succeeded", "failed", "cancelled", "superseded"]


class Deployment(Noun, frozen=True, kw_only=True):
    """One move. Times in seconds since the epoch. `rollback_of` names the failed deployment that this one takes back.

    A rollback never causes another rollback.
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

    @property
    def running(self) -> bool:
        return self.state == "running"
