"""What decisions ask for, as data. `control` carries it out: records are written first, in one transaction, then
the engine is spoken to; whatever is lost between the two is asked for again by the next decision."""

from coldchain.model.backoff import Backoff
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment, DeploymentState
from coldchain.model.instance import Phase
from coldchain.model.task import TaskFailure
from coldchain.model.version import Version


class Action(Noun, frozen=True, kw_only=True):
    """Common to all; `cause` says why, in words, and ends in stories and events."""

    cause: str


class CreateInstances(Action, frozen=True, kw_only=True):
    """Record that many new instances of a configuration, in phase `scheduled`."""

    count: int
    version_id: str


class Move(Action, frozen=True, kw_only=True):
    """Record an instance's next phase, with where it is reached once that is known; and how many of its streams were
    ended, where any were to be."""

    instance_id: str
    phase: Phase
    address: str | None = None
    ports: tuple[int, ...] | None = None
    streams_cut: int | None = None


class CutStreams(Action, frozen=True, kw_only=True):
    """Record that gateways are to end the streams of an instance that is leaving."""

    instance_id: str


class RecordPlace(Action, frozen=True, kw_only=True):
    """Record where the task of an instance is, and what it holds there: something else than what was on record."""

    instance_id: str
    agent: str
    address: str | None
    host_ports: tuple[int, ...]


class RemoveInstance(Action, frozen=True, kw_only=True):
    """Take the record of a stopped instance away: its address may be used again."""

    instance_id: str


class RecordFailure(Action, frozen=True, kw_only=True):
    """Keep what is known of a failed task, and how long the configuration has to wait: None where the task was not
    one of the wanted configuration, whose count of failures stays as it is."""

    failure: TaskFailure
    backoff: Backoff | None


class EndDeployment(Action, frozen=True, kw_only=True):
    """Record the end of the running deployment."""

    state: DeploymentState


class RecordDeployment(Action, frozen=True, kw_only=True):
    """Record the running deployment as it is now: held by brake or plan, or going on, and how far it is."""

    deployment: Deployment


class StartRollback(Action, frozen=True, kw_only=True):
    """Aim at this version again, in a deployment that takes back the one that failed."""

    to: Version


class RemoveApp(Action, frozen=True, kw_only=True):
    """Take away what is left of a deleted app: versions, failure, backoff."""


class PrepareImage(Action, frozen=True, kw_only=True):
    """Have the engine resolve and fetch the image of a configuration."""

    version_id: str


class Place(Action, frozen=True, kw_only=True):
    """The instance may be placed on an offer. `instead_of` as in `placement.Waiting`."""

    instance_id: str
    instead_of: tuple[str, ...] = ()


class LaunchTask(Action, frozen=True, kw_only=True):
    """Tell the engine to start the instance's task; again if an earlier try got no answer."""

    instance_id: str


class KillTask(Action, frozen=True, kw_only=True):
    """Tell the engine to end the task: SIGTERM, and SIGKILL after the grace."""

    instance_id: str
    grace_seconds: float


class ForgetTask(Action, frozen=True, kw_only=True):
    """Tell the engine to remove what is left of a terminal task."""

    instance_id: str
