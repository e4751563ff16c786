"""The shapes of what `/v1` answers. Nouns for the document alone, as in `answers`."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.decisions.placement import FUNNEL, Shortage
from coldchain.decisions.preview import Preview
from coldchain.documents.answers import TASK_STATES
from coldchain.documents.openapi.answers import (
    Count,
    DeploymentAnswer,
    Failure,
    OverrideAnswer,
    Port,
    Time,
    one_of,
)
from coldchain.model.app import Route
from coldchain.model.base import Noun
from coldchain.model.deployment import DeploymentKind
from coldchain.model.group import GroupKind
from coldchain.model.instance import Phase
from coldchain.model.registration import EndpointStatus, Registrant
from coldchain.model.rotation import RouteRule

Seconds = Annotated[float, Meta(ge=0)]
ReasonName = Annotated[str, one_of(FUNNEL)]
Standing = Literal["healthy", "unhealthy", "unknown"]


class Progress(Noun, frozen=True, kw_only=True):
    """Instances of the wanted configuration by how far they are, and `old` ones that are still live."""

    desired: Count
    placed: Count
    healthy: Count
    serving: Count
    old: Count


class RunningDeployment(Noun, frozen=True, kw_only=True):
    """What is being done to an app."""

    id: str
    kind: DeploymentKind | GroupKind


class AppBrief(Noun, frozen=True, kw_only=True):
    """An app in a few words. `explain`: why it is not yet as it is wanted."""

    id: str
    condition: Literal["deleting", "waiting", "paused", "deploying", "suspended", "running", "degraded", "delayed"]
    version: Time | None
    image: str | None
    progress: Progress
    deployment: RunningDeployment | None
    explain: str
    warnings: tuple[str, ...]
    overrides: tuple[OverrideAnswer, ...]


class Revision(Noun, frozen=True, kw_only=True):
    """Which rotation the gateways shall work by."""

    revision: Count


class GatewayStatus(Noun, frozen=True, kw_only=True):
    """A gateway, and the rotation it works by."""

    name: str
    live: bool
    lease_seconds: Seconds
    applied: int
    in_step: bool
    in_flight_on_leaving: Count
    ejected: Count


class AgentStatus(Noun, frozen=True, kw_only=True):
    """What an agent offers: cpus in shares of a core, mem and disk in MiB."""

    agent: str
    hostname: str
    cpus: float
    mem: float
    disk: float


class EngineStatus(Noun, frozen=True, kw_only=True):
    """Whether the engine answers, and its agents."""

    target: str
    known: bool
    trouble: str
    agents: tuple[AgentStatus, ...]


class ResourceUse(Noun, frozen=True, kw_only=True):
    """How much of a resource an agent has (`whole`; null where it offers nothing), and what instances have of it."""

    whole: float | None
    used: float


class AgentResources(Noun, frozen=True, kw_only=True):
    """cpus in shares of a core, mem and disk in MiB."""

    cpus: ResourceUse
    mem: ResourceUse
    disk: ResourceUse
    gpus: ResourceUse


class LeavingInstance(Noun, frozen=True, kw_only=True):
    """An instance that is still on an agent which is to be empty."""

    instance: str
    app: str
    phase: Phase


class Draining(Noun, frozen=True, kw_only=True):
    """Who drains an agent, since when (null: its engine does), and what is still there."""

    by: str
    since: Time | None
    waits: tuple[LeavingInstance, ...]


class AgentAnswer(Noun, frozen=True, kw_only=True):
    """An agent. `instancesOf`: how many live instances of each it has, of those that the caller may see."""

    agent: str
    target: str | None
    hostname: str | None
    role: str | None
    attributes: dict[str, str]
    region: str | None
    zone: str | None
    resources: AgentResources
    instances: Count
    instances_of: dict[str, Count]
    draining: Draining | None


class Agents(Noun, frozen=True, kw_only=True):
    """All agents, by name."""

    agents: tuple[AgentAnswer, ...]


class RegistryStatus(Noun, frozen=True, kw_only=True):
    """Whether the registry answers."""

    known: bool
    trouble: str


class BrakeStatus(Noun, frozen=True, kw_only=True):
    """Whether the brake holds, and why."""

    holds: bool
    reason: str
    since: Time | None
    released: bool


class PlatformStatus(Noun, frozen=True, kw_only=True):
    """Everything in brief. `goingDown`: why no change is taken any more, empty when it is."""

    version: str
    going_down: str
    apps: tuple[AppBrief, ...]
    rotation: Revision
    gateways: tuple[GatewayStatus, ...]
    engine: EngineStatus
    registry: RegistryStatus | None
    brake: BrakeStatus


class RefusedInstance(Noun, frozen=True, kw_only=True):
    """An instance that fits no agent: how many of the agents each reason, and each constraint, excludes."""

    instance_id: str
    agents: Count
    reasons: dict[ReasonName, Count]
    shortages: dict[ReasonName, Shortage]
    constraints: dict[str, Count]
    unsupported: tuple[str, ...]
    words: str


class InstanceStatus(Noun, frozen=True, kw_only=True):
    """An instance: where it stands, how it is, and what it waits for."""

    id: str
    task_id: str
    version: Time
    phase: Phase
    since: Time
    since_seconds: Seconds
    standing: Standing
    bad_since: Time | None
    ready: bool
    health_detail: str
    waits_for: str
    agent: str | None
    address: str | None
    ports: tuple[Port, ...]
    host_ports: tuple[Port, ...]
    task_state: Annotated[str, one_of(TASK_STATES)] | None
    exit_status: int | None
    cause: str
    story: tuple[str, ...]


class BackoffStatus(Noun, frozen=True, kw_only=True):
    """How often in a row the app has failed, and until when it is not launched."""

    failures: Count
    until: Time


class VersionCounts(Noun, frozen=True, kw_only=True):
    """What the gateways counted of one version. Null: not known."""

    requests: Count
    errors: Count
    error_share: Annotated[float, Meta(ge=0, le=1)] | None
    latency_seconds: "Latency"


class Latency(Noun, frozen=True, kw_only=True):
    """At most so long, in seconds, took half of the requests, and 95 %."""

    p50: float | None
    p95: float | None


class TrafficStatus(Noun, frozen=True, kw_only=True):
    """What the gateways saw of new and old version."""

    window_seconds: Seconds
    new: VersionCounts
    old: VersionCounts


class DeploymentStatus(DeploymentAnswer, frozen=True, kw_only=True):
    """A deployment, how far it is, and once it failed with what failed and what takes it back."""

    app: str
    progress: Progress
    explain: str
    image_progress: str | None
    rolled_back_by: str | None
    traffic: TrafficStatus | None
    last_failure: Failure | None


class AppStatus(Noun, frozen=True, kw_only=True):
    """All that one screen needs of an app."""

    id: str
    condition: Literal["deleting", "waiting", "paused", "deploying", "suspended", "running", "degraded", "delayed"]
    version: Time | None
    image: str | None
    progress: Progress
    explain: str
    warnings: tuple[str, ...]
    overrides: tuple[OverrideAnswer, ...]
    deployment: DeploymentStatus | None
    last_deployment: DeploymentAnswer | None
    instances: tuple[InstanceStatus, ...]
    last_failure: Failure | None
    backoff: BackoffStatus | None
    resolved_image: str | None
    image_progress: str | None
    refused: tuple[RefusedInstance, ...]
    routes: tuple[str, ...]


class PastDeployment(DeploymentAnswer, frozen=True, kw_only=True):
    """A deployment, how long it took, and what it led to; null where that is not on record any more."""

    seconds: Seconds
    image: str | None
    instances: Count | None


class History(Noun, frozen=True, kw_only=True):
    """What was done to an app, the latest first."""

    app: str
    deployments: tuple[PastDeployment, ...]


class PreviewAnswer(Preview, frozen=True, kw_only=True):
    """A rollout before it starts. `supersedes`: the running deployment that only `force` would replace."""

    kind: DeploymentKind
    supersedes: str | None


class StoryStep(Noun, frozen=True, kw_only=True):
    """Into which phase, when and why."""

    phase: Phase
    at: Time
    cause: str


class Story(Noun, frozen=True, kw_only=True):
    """The life of an instance, also in words."""

    id: str
    app: str
    phase: Phase
    history: tuple[StoryStep, ...]
    story: str


class ServiceEndpointAnswer(Noun, frozen=True, kw_only=True):
    """One endpoint of a service; `app` null: somebody else registered it. `unlisted`: it gets requests, and the
    registry does not list it. `since`: when it got its status, null where that is not known. `inRotation` null: no app
    has or uses the service. `why`: what its checks say, and why it is in the rotation or not."""

    id: str
    address: str
    port: Port
    status: EndpointStatus | Literal["unlisted"]
    since: Time | None
    in_rotation: bool | None
    why: str
    registered_by: Registrant | None
    app: str | None


class Service(Noun, frozen=True, kw_only=True):
    """A service as the registry knows it."""

    name: str
    endpoints: tuple[ServiceEndpointAnswer, ...]


class Services(Noun, frozen=True, kw_only=True):
    """All services of the registry."""

    services: tuple[Service, ...]


class AskedRoute(RouteRule, frozen=True, kw_only=True):
    """A rule of a domain, and the app that has it."""

    app: str


class Routes(Noun, frozen=True, kw_only=True):
    """Routes as apps define them, and by domain in the order in which they are asked: the first that fits decides."""

    apps: dict[str, tuple[Route, ...]]
    domains: dict[str, tuple[AskedRoute, ...]]


class SecretAnswer(Noun, frozen=True, kw_only=True):
    """What is known of a secret, never its value. `usedBy`: the apps that ask for it."""

    name: str
    key_id: str
    changed_at: Time
    cause: str
    used_by: tuple[str, ...]


class Secrets(Noun, frozen=True, kw_only=True):
    """All secrets."""

    secrets: tuple[SecretAnswer, ...]


class CertificateAnswer(Noun, frozen=True, kw_only=True):
    """What is known of a certificate, never its key. `default`: shown to whoever asks for no domain that has one.
    `fingerprint`: SHA-256, hexadecimal."""

    name: str
    domains: tuple[str, ...]
    default: bool
    fingerprint: str
    not_before: Time
    not_after: Time
    changed_at: Time
    cause: str


class Certificates(Noun, frozen=True, kw_only=True):
    """All certificates of the gateways."""

    certificates: tuple[CertificateAnswer, ...]


class Sealed(Noun, frozen=True, kw_only=True):
    """How many secrets were sealed by the fresh key."""

    secrets: Count
