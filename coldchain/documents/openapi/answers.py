"""The shapes of what `/v2` answers. Nouns for the document alone: whatever a real answer has more or less fails a test.

A member with UNSET may be absent, one with None is there and null.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from coldchain.decisions.placement import FUNNEL as OUR_FUNNEL
from coldchain.documents.answers import ACTIONS, TASK_STATES
from coldchain.documents.launch_queue import FUNNEL, MARATHONS
from coldchain.model.base import Noun
from coldchain.model.deployment import DeploymentKind, DeploymentState, Holder
from coldchain.model.instance import Phase


def one_of(values: Any) -> Meta:
    """One of the words of a table of the code, each once, in their order."""
    return Meta(extra_json_schema={"enum": list(dict.fromkeys(values))})


Time = Annotated[
    str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", extra_json_schema={"format": "date-time"})
]
Count = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]
TaskStateName = Annotated[str, one_of(TASK_STATES.values())]
Action = Annotated[str, one_of(action for actions in ACTIONS.values() for action in actions)]
Reason = Annotated[str, one_of([*FUNNEL, *(MARATHONS.get(reason, reason) for reason in OUR_FUNNEL)])]


class Message(Noun, frozen=True, kw_only=True):
    """What happened, and what the reader can do."""

    message: str


class ConflictMessage(Message, frozen=True, kw_only=True):
    """`deployments`: those that stand in the way."""

    deployments: tuple["Named", ...] | UnsetType = UNSET


class MalformedMessage(Message, frozen=True, kw_only=True):
    """`details`: where the document, or which parameter, cannot be read."""

    details: str


class InvalidMessage(Message, frozen=True, kw_only=True):
    """Everything that is wrong."""

    details: tuple["PathErrors", ...]


class PathErrors(Noun, frozen=True, kw_only=True):
    """What is wrong at one place, a JSON pointer."""

    path: str
    errors: Annotated[tuple[str, ...], Meta(min_length=1)]


class Named(Noun, frozen=True, kw_only=True):
    """Something by its id."""

    id: str


class Begun(Noun, frozen=True, kw_only=True):
    """The deployment that carries a change out, and the version it leads to."""

    deployment_id: str
    version: Time


class VersionInfo(Noun, frozen=True, kw_only=True):
    """When an app was last changed, and when more than its number of instances."""

    last_scaling_at: Time
    last_config_change_at: Time


class OverrideAnswer(Noun, frozen=True, kw_only=True):
    """A rule of admission that somebody let a version pass."""

    rule: str
    because: str
    caller: str
    at: Time


class Stored(Noun, frozen=True, kw_only=True):
    """What stands beside a definition in every answer."""

    version: Time
    version_info: VersionInfo


class StoredVersion(Stored, frozen=True, kw_only=True):
    """`resolvedImage` with `embed=coldchain`: what the image's tag meant."""

    resolved_image: str | UnsetType | None = UNSET
    overrides: tuple[OverrideAnswer, ...] | UnsetType = UNSET


class Embedded(Stored, frozen=True, kw_only=True):
    """What `embed` adds to an app; `tasksServing` with `embed=coldchain`."""

    tasks_staged: Count | UnsetType = UNSET
    tasks_running: Count | UnsetType = UNSET
    tasks_healthy: Count | UnsetType = UNSET
    tasks_unhealthy: Count | UnsetType = UNSET
    tasks_serving: Count | UnsetType = UNSET
    deployments: tuple[Named, ...] | UnsetType = UNSET
    readiness_check_results: "tuple[ReadinessResult, ...] | UnsetType" = UNSET
    last_task_failure: "Failure | UnsetType" = UNSET
    task_stats: "TaskStats | UnsetType" = UNSET
    tasks: "tuple[Task, ...] | UnsetType" = UNSET


class ReadinessResult(Noun, frozen=True, kw_only=True):
    """What a readiness check found of one task."""

    name: str
    task_id: str
    ready: bool
    last_response: "LastResponse | UnsetType" = UNSET


class LastResponse(Noun, frozen=True, kw_only=True):
    """The beginning of what the task answered."""

    status: int
    content_type: str
    body: str


class Failure(Noun, frozen=True, kw_only=True):
    """The last failed task of an app; `exitStatus` and `logTail` are Coldchain's own."""

    app_id: str
    host: str
    slave_id: str
    message: str
    state: TaskStateName
    task_id: str
    instance_id: str
    timestamp: Time
    version: Time
    exit_status: int | UnsetType | None = UNSET
    log_tail: tuple[str, ...] | UnsetType = UNSET


class TaskStats(Noun, frozen=True, kw_only=True):
    """Tasks by what they were started for; a group without tasks is absent."""

    started_after_last_scaling: "TaskGroup | UnsetType" = UNSET
    with_latest_config: "TaskGroup | UnsetType" = UNSET
    with_outdated_config: "TaskGroup | UnsetType" = UNSET
    total_summary: "TaskGroup | UnsetType" = UNSET


class TaskGroup(Noun, frozen=True, kw_only=True):
    """One group of tasks."""

    stats: "GroupStats"


class GroupStats(Noun, frozen=True, kw_only=True):
    """How many tasks are in which state, and how long those that run have."""

    counts: "StateCounts"
    life_time: "LifeTime | UnsetType" = UNSET


class StateCounts(Noun, frozen=True, kw_only=True):
    """Tasks by state; `healthy` and `unhealthy` by the app's health checks."""

    staged: Count
    running: Count
    healthy: Count
    unhealthy: Count


class LifeTime(Noun, frozen=True, kw_only=True):
    """Seconds since the tasks began to run."""

    average_seconds: Annotated[float, Meta(ge=0)]
    median_seconds: Annotated[float, Meta(ge=0)]


class Task(Noun, frozen=True, kw_only=True):
    """One task; from `instanceId` on with `embed=coldchain` only."""

    id: str
    app_id: str
    host: str | None
    slave_id: str | None
    ip_addresses: "tuple[IpAddress, ...]"
    ports: tuple[Port, ...]
    service_ports: tuple[Port, ...]
    state: TaskStateName
    version: Time
    staged_at: Time
    started_at: Time | UnsetType = UNSET
    health_check_results: "tuple[HealthResult, ...]"
    local_volumes: Annotated[tuple[str, ...], Meta(max_length=0)]
    instance_id: str | UnsetType = UNSET
    phase: Phase | UnsetType = UNSET
    phase_since: Time | UnsetType = UNSET
    endpoints: tuple[str, ...] | UnsetType = UNSET
    cause: str | UnsetType = UNSET


class IpAddress(Noun, frozen=True, kw_only=True):
    """An address of a task."""

    ip_address: str
    protocol: Literal["IPv4", "IPv6"]


class HealthResult(Noun, frozen=True, kw_only=True):
    """What a health check found of one task; `check` with `embed=coldchain` only."""

    instance_id: str
    task_id: str
    alive: bool
    consecutive_failures: Count
    last_success: Time | None
    last_failure: Time | None
    last_failure_cause: str | None
    check: str | UnsetType = UNSET


class Tasks(Noun, frozen=True, kw_only=True):
    """Several tasks."""

    tasks: tuple[Task, ...]


class OneTask(Noun, frozen=True, kw_only=True):
    """The task that was killed."""

    task: Task


class Versions(Noun, frozen=True, kw_only=True):
    """The versions of an app, the latest first."""

    versions: tuple[Time, ...]


class DeploymentAction(Noun, frozen=True, kw_only=True):
    """What is done to an app in a step."""

    action: Action
    app: str


class CurrentAction(DeploymentAction, frozen=True, kw_only=True):
    """What is being done."""

    readiness_check_results: tuple[ReadinessResult, ...]


class DeploymentStep(Noun, frozen=True, kw_only=True):
    """What is done together."""

    actions: tuple[DeploymentAction, ...]


class MarathonDeployment(Noun, frozen=True, kw_only=True):
    """A deployment in Marathon's fields alone."""

    id: str
    version: Time
    affected_apps: tuple[str, ...]
    affected_pods: Annotated[tuple[str, ...], Meta(max_length=0)]
    steps: tuple[DeploymentStep, ...]
    current_actions: tuple[CurrentAction, ...]
    current_step: Count
    total_steps: Count


class DeploymentAnswer(MarathonDeployment, frozen=True, kw_only=True):
    """One move of an app from a version to another; from `target` on Coldchain's own fields."""

    target: str
    kind: DeploymentKind
    state: DeploymentState
    reason: str
    cause: str
    from_version: Time | None
    to_version: Time | None
    rollback_of: str | None
    part_of: str | None
    started_at: Time
    paused_by: Holder | None
    paused_at: Time | None
    resumes_at: Time | None
    steps_done: Count
    deadline_at: Time
    ended_at: Time | None


class Delay(Noun, frozen=True, kw_only=True):
    """How long the next launch waits for earlier failures."""

    time_left_seconds: Count
    overdue: bool


class RejectStep(Noun, frozen=True, kw_only=True):
    """How many offers came to a reason, and how many it held back."""

    reason: Reason
    declined: Count
    processed: Count


class OffersSummary(Noun, frozen=True, kw_only=True):
    """How the offers fared that were looked at last."""

    processed_offers_count: Count
    unused_offers_count: Count
    last_unused_offer_at: Time | UnsetType = UNSET
    last_used_offer_at: Time | UnsetType = UNSET
    reject_summary_last_offers: tuple[RejectStep, ...]
    reject_summary_launch_attempt: tuple[RejectStep, ...]


class Scalar(Noun, frozen=True, kw_only=True):
    """A resource of an offer: cpus in shares of a core, mem and disk in MiB."""

    name: Literal["cpus", "mem", "disk"]
    role: str
    scalar: float


class UnusedOffer(Noun, frozen=True, kw_only=True):
    """What an agent has left."""

    id: str
    agent_id: str
    hostname: str
    resources: tuple[Scalar, ...]
    attributes: Annotated[tuple[str, ...], Meta(max_length=0)]


class Unused(Noun, frozen=True, kw_only=True):
    """An agent that did not do, and why."""

    offer: UnusedOffer
    reason: tuple[Reason, ...]
    timestamp: Time


class Queued(Noun, frozen=True, kw_only=True):
    """What stands beside an app in the launch queue; `lastUnusedOffers` where it is embedded."""

    count: Count
    delay: Delay
    since: Time
    processed_offers_summary: OffersSummary
    last_unused_offers: tuple[Unused, ...] | UnsetType = UNSET


class Info(Noun, frozen=True, kw_only=True):
    """What the controller says of itself."""

    name: Literal["coldchain"]
    version: str
    buildref: str
    elected: Literal[True]
    leader: str
    framework_id: None
    marathon_config: "MarathonConfig" = msgspec.field(name="marathon_config")
    http_config: "HttpConfig" = msgspec.field(name="http_config")
    zookeeper_config: "Empty" = msgspec.field(name="zookeeper_config")
    event_subscriber: None = msgspec.field(name="event_subscriber")


class MarathonConfig(Noun, frozen=True, kw_only=True, rename=None):
    """Marathon's options that mean something here."""

    features: Annotated[tuple[str, ...], Meta(max_length=0)]
    ha: bool
    hostname: str
    local_port_min: int
    local_port_max: int
    maintenance_mode: bool
    mesos_role: str


class HttpConfig(Noun, frozen=True, kw_only=True):
    """Where the API listens."""

    http_port: Annotated[int, Meta(ge=1, le=65535)] = msgspec.field(name="http_port")
    https_port: None = msgspec.field(name="https_port")


class Plugins(Noun, frozen=True, kw_only=True):
    """There are none."""

    plugins: Annotated[tuple[str, ...], Meta(max_length=0)]


class Logging(Noun, frozen=True, kw_only=True, rename="upper"):
    """The level of the log."""

    root: str


class Metrics(Noun, frozen=True, kw_only=True):
    """The controller's numbers by name, in Marathon's form."""

    version: str
    gauges: dict[str, "Gauge"]
    counters: dict[str, "Counter"]
    histograms: "Empty"
    meters: "Empty"
    timers: "Empty"


class Gauge(Noun, frozen=True, kw_only=True):
    """A number of now."""

    value: float


class Counter(Noun, frozen=True, kw_only=True):
    """A number that only grows."""

    count: float


class Empty(Noun, frozen=True, kw_only=True):
    """Nothing; it is there for clients that look at it."""


class Leader(Noun, frozen=True, kw_only=True):
    """The address of the controller that acts."""

    leader: str
