"""The shapes of what is answered about several apps together. Nouns for the document alone, as in `answers`."""

from coldchain.documents.openapi.answers import Count, DeploymentStep, Failure, MarathonDeployment, Time
from coldchain.documents.openapi.own_answers import Progress
from coldchain.model.base import Noun
from coldchain.model.deployment import DeploymentKind, DeploymentState, Holder
from coldchain.model.group import GroupKind


class GroupSteps(Noun, frozen=True, kw_only=True):
    """By which steps a change would be made."""

    steps: tuple[DeploymentStep, ...]


class GroupDeploymentAnswer(MarathonDeployment, frozen=True, kw_only=True):
    """One move of several apps; from `target` on Coldchain's own fields. `group`: what is moved, `/` for several apps
    of no group in particular."""

    target: str
    group: str
    kind: GroupKind
    state: DeploymentState
    reason: str
    cause: str
    from_version: None
    to_version: Time
    rollback_of: str | None
    started_at: Time
    paused_by: Holder | None
    paused_at: Time | None
    resumes_at: None
    steps_done: Count
    deadline_at: Time | None
    ended_at: Time | None


class Member(Noun, frozen=True, kw_only=True):
    """The deployment of one of the apps."""

    id: str
    app: str
    kind: DeploymentKind
    state: DeploymentState
    paused_by: Holder | None


class GroupDeploymentStatus(GroupDeploymentAnswer, frozen=True, kw_only=True):
    """A move of several apps, how far they are together, and each of them."""

    app: str
    progress: Progress
    explain: str
    image_progress: str | None
    rolled_back_by: str | None
    traffic: None
    last_failure: Failure | None
    members: tuple[Member, ...]
