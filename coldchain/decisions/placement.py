"""placement: which offer a waiting instance takes, and why it takes none."""

from collections import Counter
from collections.abc import Iterable, Sequence

from coldchain.decisions.address import next_address, next_ports
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer


class Waiting(Noun, frozen=True, kw_only=True):
    """An instance that is to be placed, with the app it is a copy of."""

    instance: Instance
    app: App


class Placed(Noun, frozen=True, kw_only=True):
    """Where an instance goes, with what it gets there."""

    instance_id: str
    agent: str
    address: str | None
    host_ports: tuple[int, ...]


REASONS = {
    "UnfulfilledTarget": "another target",
    "InsufficientCpus": "too few cpus",
    "InsufficientMemory": "too little memory",
    "InsufficientDisk": "too little disk",
    "InsufficientPorts": "the host ports are taken",
    "InsufficientAddresses": "no free address",
}
"""Why an agent is excluded: in Marathon's words, and in plain ones."""
FUNNEL = (
    "UnfulfilledTarget",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientPorts",
    "InsufficientAddresses",
)
"""In which order the reasons sift the agents: an agent with several of them counts by the first."""
UNUSED_KEPT = 5
"""Agents of which a refusal says what they have left and why that is not enough."""
UNITS = {"InsufficientCpus": "cpus", "InsufficientMemory": "MiB", "InsufficientDisk": "MiB"}


class Shortage(Noun, frozen=True, kw_only=True):
    """How much of a resource is wanted, and what the agent with the most of it left has `free`, out of its `whole`."""

    wanted: float
    free: float
    whole: float


class Unused(Noun, frozen=True, kw_only=True):
    """An agent that an instance does not go to: what it has left (cpus in shares of a core, MiB), and why not."""

    agent: str
    cpus: float
    mem: float
    disk: float
    reasons: tuple[str, ...]


class Refused(Noun, frozen=True, kw_only=True):
    """Why an instance goes nowhere: how many of the `agents` each reason excluded; one may have several reasons.
    `shortages` by reason, where it is one of numbers. `sifted`: each agent by the first of its reasons, as FUNNEL has
    them. `unused`: some of the agents, those with most memory left first."""

    instance_id: str
    app_id: str
    agents: int
    reasons: dict[str, int]
    shortages: dict[str, Shortage] = {}
    sifted: dict[str, int] = {}
    unused: tuple[Unused, ...] = ()

    def __str__(self) -> str:
        if not self.agents:
            return "it fits no agent: none offers anything"
        counted = ", ".join(
            f"{REASONS[reason]} on {count}{self._numbers(reason)}" for reason, count in self.reasons.items()
        )
        return f"it fits none of {self.agents} agents: {counted}"

    def _numbers(self, reason: str) -> str:
        short = self.shortages.get(reason)
        if short is None:
            return ""
        return f" ({short.wanted:.10g} {UNITS[reason]} wanted, at most {short.free:.10g} of {short.whole:.10g} free)"


class _Free:
    """What is left of an offer while instances are taken out of it."""

    def __init__(self, offer: Offer, held: Iterable[tuple[Instance, App]]) -> None:
        self.offer = offer
        self.cpus, self.mem, self.disk = offer.cpus, offer.mem, offer.disk
        self.addresses: set[str] = set()
        self.ports: set[int] = set()
        self.last_address: str | None = None
        self.last_port = 0
        for instance, app in sorted(held, key=lambda pair: pair[0].created_at):
            self.take(instance.address, instance.host_ports, app if instance.live else None)

    def take(self, address: str | None, host_ports: Sequence[int], app: App | None) -> None:
        if address is not None:
            self.addresses.add(address)
            self.last_address = address
        self.ports.update(port for port in host_ports if port)
        self.last_port = max((*host_ports, 0)) or self.last_port
        if app is not None:
            self.cpus -= app.cpus
            self.mem -= app.mem
            self.disk -= app.disk

    def shortages(self, app: App) -> dict[str, Shortage]:
        """What of its resources is not enough for one more instance of the app."""
        return {
            reason: Shortage(wanted=wanted, free=max(0.0, round(free, 6)), whole=whole)
            for reason, wanted, free, whole in (
                ("InsufficientCpus", app.cpus, self.cpus, self.offer.cpus),
                ("InsufficientMemory", app.mem, self.mem, self.offer.mem),
                ("InsufficientDisk", app.disk, self.disk, self.offer.disk),
            )
            if free + 1e-9 < wanted
        }

    def fit(self, waiting: Waiting) -> Placed | str:
        """Where it could go, or why not, once there is enough of all resources."""
        app = waiting.app
        ports = next_ports(self.offer.port_ranges, app.wanted_host_ports, self.ports, self.last_port)
        if ports is None:
            return "InsufficientPorts"
        address = None
        if app.network.mode == "container/bridge" and self.offer.subnet is not None:
            address = next_address(self.offer.subnet, self.addresses, self.last_address)
            if address is None:
                return "InsufficientAddresses"
        return Placed(instance_id=waiting.instance.id, agent=self.offer.agent, address=address, host_ports=ports)


def place(
    waiting: Iterable[Waiting], offers: Sequence[Offer], held: Iterable[tuple[Instance, App]]
) -> tuple[list[Placed], list[Refused]]:
    """Place the waiting instances, oldest first, each on the agent with the most memory left.

    `held` are all instances that are on an agent, with their app; a stopped one on record holds no resources but
    still its address and ports, because a stale gateway may know them.
    """
    by_agent: dict[str | None, list[tuple[Instance, App]]] = {}
    for instance, app in held:
        by_agent.setdefault(instance.agent, []).append((instance, app))
    free = [_Free(offer, by_agent.get(offer.agent, ())) for offer in offers]
    placed: list[Placed] = []
    refused: list[Refused] = []
    for one in sorted(waiting, key=lambda one: (one.instance.created_at, one.instance.id)):
        unfit: list[tuple[_Free, tuple[str, ...], dict[str, Shortage]]] = []
        for candidate in sorted(free, key=lambda agent: -agent.mem):
            if candidate.offer.target != one.instance.target:
                unfit.append((candidate, ("UnfulfilledTarget",), {}))
                continue
            if short := candidate.shortages(one.app):
                unfit.append((candidate, tuple(short), short))
                continue
            fit = candidate.fit(one)
            if isinstance(fit, Placed):
                candidate.take(fit.address, fit.host_ports, one.app)
                placed.append(fit)
                break
            unfit.append((candidate, (fit,), {}))
        else:
            refused.append(_refused(one, unfit))
    return placed, refused


def _refused(one: Waiting, unfit: Sequence[tuple[_Free, tuple[str, ...], dict[str, Shortage]]]) -> Refused:
    """What all agents say against the instance, together."""
    shortages: dict[str, Shortage] = {}
    for _, _, short in unfit:
        for reason, shortage in short.items():
            shortages[reason] = max(shortage, shortages.get(reason, shortage), key=lambda known: known.free)
    return Refused(
        instance_id=one.instance.id,
        app_id=one.app.id,
        agents=len(unfit),
        reasons=dict(Counter(reason for _, reasons, _ in unfit for reason in reasons).most_common()),
        shortages=shortages,
        sifted=dict(Counter(min(reasons, key=FUNNEL.index) for _, reasons, _ in unfit)),
        unused=tuple(
            Unused(
                agent=agent.offer.agent,
                cpus=max(0.0, round(agent.cpus, 6)),
                mem=max(0.0, round(agent.mem, 6)),
                disk=max(0.0, round(agent.disk, 6)),
                reasons=reasons,
            )
            for agent, reasons, _ in unfit[:UNUSED_KEPT]
        ),
    )
