"""group: apps under a common path, changed together: what is on record of one, and one move of its apps."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.model.base import Noun
from coldchain.model.deployment import DeploymentState

ROOT = "/"
"""The group that everything is in."""

GroupKind = Literal["apps", "change", "delete", "rollback", "scale"]
"""`apps`: several apps that somebody changed at once, of no group in particular."""
GroupActionName = Literal["StopApplication", "StartApplication", "ScaleApplication", "RestartApplication"]


class Group(Noun, frozen=True, kw_only=True):
    """What is on record of a group beside its apps: a group may be empty, and depend on others (apps and groups)."""

    id: str
    dependencies: tuple[str, ...] = ()


class GroupVersion(Noun, frozen=True, kw_only=True):
    """A group as it was: the version of each app in it and below, and the groups below with what they depend on.

    `id` as of versions of apps: the time, unique in the group.
    """

    group_id: str
    id: str
    apps: dict[str, str] = {}
    groups: dict[str, tuple[str, ...]] = {}


class GroupAction(Noun, frozen=True, kw_only=True):
    """What a step does with one app, in Marathon's words."""

    action: GroupActionName
    app: str


GroupStep = Annotated[tuple[GroupAction, ...], Meta(min_length=1)]
"""Actions that are carried out side by side."""


class GroupDeployment(Noun, frozen=True, kw_only=True):
    """One move of several apps, each by a deployment of its own (`members`: its id by the app's), layer by layer.

    `steps`: as its clients see them. A layer is a step but that of StartApplication, which starts nothing yet: all of
    one layer succeed before the next begins. `layers_done`: how many have. `without`: apps that somebody took over
    since, by another deployment. `groups_before`: the records of groups that it changed as they were, those that were
    not there as None. Times in seconds since the epoch. `rollback_of`: the failed group deployment that it takes back;
    a rollback never causes another rollback.
    """

    id: str
    group_id: str
    target: str
    kind: GroupKind
    version: str
    steps: tuple[GroupStep, ...]
    members: dict[str, str]
    started_at: float
    cause: str
    layers_done: int = 0
    without: tuple[str, ...] = ()
    groups_before: dict[str, Group | None] = {}
    state: DeploymentState = "running"
    ended_at: float | None = None
    reason: str = ""
    rollback_of: str | None = None
    paused_at: float | None = None

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """The apps of each layer."""
        return tuple(
            tuple(action.app for action in step) for step in self.steps if step[0].action != "StartApplication"
        )

    def has(self, app_id: str) -> bool:
        """True while it is this that changes the app."""
        return self.running and app_id in self.members and app_id not in self.without
