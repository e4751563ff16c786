"""placement: which offer a waiting instance takes, and why it takes none."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain, repeat
from operator import attrgetter, sub

import msgspec

from coldchain.decisions.actions import RecordPlace
from coldchain.decisions.address import next_address, next_ports
from coldchain.decisions.constraint import Neighbours, values_of
from coldchain.decisions.containerizer import unsupported
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer


class Waiting(Noun, frozen=True, kw_only=True):
    """An instance that is to be placed, with the app as it is wanted now. `instead_of`: ids of instances of the app
    that leave once others serve: constraints do not count them, or nobody could take their place before they go."""

    instance: Instance
    app: App
    instead_of: tuple[str, ...] = ()


class Placed(Noun, frozen=True, kw_only=True):
    """Where an instance goes, with what it gets there. `constraint_values` as in `Instance`."""

    instance_id: str
    agent: str
    address: str | None
    host_ports: tuple[int, ...]
    constraint_values: dict[str, str] = {}

    def settled(self, instance: Instance) -> Instance:
        """The instance with what it gets."""
        return msgspec.structs.replace(
            instance,
            agent=self.agent,
            address=self.address,
            host_ports=self.host_ports,
            constraint_values=self.constraint_values,
        )


def settled_at(instance: Instance, place: RecordPlace, app: App, offers: Iterable[Offer]) -> Instance:
    """The instance where its task was found. What another agent says of itself is unknown while that offers nothing."""
    values = instance.constraint_values
    if place.agent != instance.agent:
        values = next((values_of(app, one) for one in offers if one.agent == place.agent), {})
    placed = Placed(
        instance_id=instance.id,
        agent=place.agent,
        address=place.address,
        host_ports=place.host_ports,
        constraint_values=values,
    )
    return placed.settled(instance)


REASONS = {
    "UnfulfilledTarget": "another target",
    "UnfulfilledRole": "offered for another role",
    "UnfulfilledContainerizer": "the Docker containerizer of Mesos cannot run it",
    "UnfulfilledConstraint": "a constraint of the app",
    "AgentMaintenance": "is drained",
    "InsufficientCpus": "too few cpus",
    "InsufficientMemory": "too little memory",
    "InsufficientDisk": "too little disk",
    "InsufficientGpus": "too few gpus",
    "InsufficientPorts": "the host ports are taken",
    "InsufficientAddresses": "no free address",
}
"""Why an agent is excluded: in Marathon's words, and in plain ones."""
FUNNEL = (
    "UnfulfilledTarget",
    "UnfulfilledRole",
    "UnfulfilledContainerizer",
    "UnfulfilledConstraint",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "InsufficientAddresses",
)
"""In which order the reasons sift the agents: an agent with several of them counts by the first."""
UNUSED_KEPT = 5
"""Agents of which a refusal says what they have left and why that is not enough."""
UNITS = {
    "InsufficientCpus": "cpus",
    "InsufficientMemory": "MiB",
    "InsufficientDisk": "MiB",
    "InsufficientGpus": "gpus",
}


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
    role: str = "*"


class Refused(Noun, frozen=True, kw_only=True):
    """Why an instance goes nowhere: how many of the `agents` each reason excluded; one may have several reasons.
    `shortages` by reason, where it is one of numbers. `constraints`: how many agents each constraint excluded, by its
    words. `unsupported`: what of the app the Docker containerizer of Mesos cannot do. `sifted`: each agent by the first
    of its reasons, as FUNNEL has them. `unused`: some of the agents, those with most memory left first."""

    instance_id: str
    app_id: str
    agents: int
    reasons: dict[str, int]
    shortages: dict[str, Shortage] = {}
    constraints: dict[str, int] = {}
    unsupported: tuple[str, ...] = ()
    sifted: dict[str, int] = {}
    unused: tuple[Unused, ...] = ()

    def __str__(self) -> str:
        if not self.agents:
            return "it fits no agent: none offers anything"
        counted = ", ".join(
            f"{REASONS[reason]} on {count}{self._details(reason)}" for reason, count in self.reasons.items()
        )
        return f"it fits none of {self.agents} agents: {counted}"

    def _details(self, reason: str) -> str:
        if reason == "UnfulfilledConstraint":
            return f" ({', '.join(f'{words}: {count}' for words, count in self.constraints.items())})"
        if reason == "UnfulfilledContainerizer":
            return f" ({', '.join(self.unsupported)})"
        short = self.shortages.get(reason)
        if short is None:
            return ""
        return f" ({short.wanted:.10g} {UNITS[reason]} wanted, at most {short.free:.10g} of {short.whole:.10g} free)"


class Held(Noun, frozen=True, kw_only=True):
    """What instances have of an agent, together. `last_address`, `last_port`: those given last."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0
    gpus: int = 0
    addresses: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    last_address: str | None = None
    last_port: int = 0


NOTHING = Held()
AGENT, MEM, TARGET = attrgetter("agent"), attrgetter("mem"), attrgetter("target")


def held_by(instances: Iterable[tuple[Instance, App]]) -> Held:
    """What these have, which are all of one agent; each with its app. A stopped one on record holds no resources but
    still its address and ports, because a stale gateway may know them."""
    ordered = sorted(instances, key=lambda pair: (pair[0].created_at, pair[0].id))
    live = [app for instance, app in ordered if instance.live]
    # What a network by name gave is none of the subnet that addresses are chosen from here, even where it looks so.
    addresses = [one.address for one, app in ordered if one.address is not None and not app.network.by_name]
    ports = [[port for port in one.host_ports if port] for one, _ in ordered]
    return Held(
        cpus=sum(app.cpus for app in live),
        mem=sum(app.mem for app in live),
        disk=sum(app.disk for app in live),
        gpus=sum(app.gpus for app in live),
        addresses=frozenset(addresses),
        ports=frozenset(chain(*ports)),
        last_address=addresses[-1] if addresses else None,
        last_port=next((max(some) for some in reversed(ports) if some), 0),
    )


class _Free:
    """What is left of an offer while instances are taken out of it."""

    def __init__(self, offer: Offer, held: Held) -> None:
        self.offer = offer
        self.cpus, self.mem = offer.cpus - held.cpus, offer.mem - held.mem
        self.disk, self.gpus = offer.disk - held.disk, offer.gpus - held.gpus
        self.addresses: set[str] | frozenset[str] = held.addresses
        self.ports: set[int] | frozenset[int] = held.ports
        self.last_address = held.last_address
        self.last_port = held.last_port

    def take(self, address: str | None, host_ports: Sequence[int], app: App) -> None:
        if isinstance(self.addresses, frozenset) or isinstance(self.ports, frozenset):
            self.addresses, self.ports = set(self.addresses), set(self.ports)  # few agents are taken from in a pass
        if address is not None:
            self.addresses.add(address)
            self.last_address = address
        self.ports.update(port for port in host_ports if port)
        self.last_port = max((*host_ports, 0)) or self.last_port
        self.cpus -= app.cpus
        self.mem -= app.mem
        self.disk -= app.disk
        self.gpus -= app.gpus

    def shortages(self, app: App) -> dict[str, Shortage]:
        """What of its resources is not enough for one more instance of the app."""
        return {
            reason: Shortage(wanted=wanted, free=max(0.0, round(free, 6)), whole=whole)
            for reason, wanted, free, whole in (
                ("InsufficientCpus", app.cpus, self.cpus, self.offer.cpus),
                ("InsufficientMemory", app.mem, self.mem, self.offer.mem),
                ("InsufficientDisk", app.disk, self.disk, self.offer.disk),
                ("InsufficientGpus", app.gpus, self.gpus, self.offer.gpus),
            )
            if free + 1e-9 < wanted
        }

    def unused(self, reasons: tuple[str, ...]) -> Unused:
        """What it has left, and why that is not for an instance."""
        left = (max(0.0, round(free, 6)) for free in (self.cpus, self.mem, self.disk))
        cpus, mem, disk = left
        return Unused(agent=self.offer.agent, cpus=cpus, mem=mem, disk=disk, reasons=reasons, role=self.offer.role)

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


class _Copies:
    """Where the instances of one app are that a waiting one is to be kept apart from. `everywhere`: of any version, by
    agent; `alike`: those of its own, which are what counts in the end. `unsupported`: why containerizers cannot run
    it."""

    def __init__(self, one: Waiting, others: Iterable[Instance]) -> None:
        self.app = one.app
        self.everywhere: Counter[str | None] = Counter()
        self.alike: Counter[str | None] = Counter()
        compared: list[Instance] = []
        for other in others:
            self.everywhere[other.agent] += 1
            if other.version_id == one.instance.version_id:
                self.alike[other.agent] += 1
                if other.id not in one.instead_of:
                    compared.append(other)
        self.neighbours = Neighbours(one.app, compared)
        self.unsupported = unsupported(one.app)
        self.refused: Refused | None = None

    def add(self, placed: Placed) -> None:
        self.everywhere[placed.agent] += 1
        self.alike[placed.agent] += 1
        self.neighbours.add(placed.constraint_values)


class _Unfit(Noun, frozen=True, kw_only=True):
    """Why an agent is not fit for an instance."""

    unused: Unused
    shortages: dict[str, Shortage] = {}
    constraints: tuple[str, ...] = ()


class _Agents:
    """The agents of one target, those with the most memory left first. There may be thousands, and few are looked at:
    what is left of one is worked out then."""

    def __init__(self, offers: Sequence[Offer], held: Mapping[str, Held]) -> None:
        self._offers = offers
        self._held = held
        self._looked_at: dict[int, _Free] = {}
        self._numbers: dict[str, list[int]] = {}
        taken = map(MEM, map(held.get, map(AGENT, offers), repeat(NOTHING)))
        self._lacking = list(map(sub, taken, map(MEM, offers)))
        self._order = sorted(range(len(offers)), key=self._lacking.__getitem__)

    def copy(self) -> "_Agents":
        """One that can be taken from, while this one stays as it is."""
        found = copy(self)
        found._looked_at = {}
        found._lacking, found._order = self._lacking.copy(), self._order.copy()
        return found

    def renew(self, held: Mapping[str, Held], names: Iterable[str]) -> None:
        """What is held of these agents has changed."""
        self._held = held
        for name in names:
            for number in self._numbers_of(name):
                lacking = held.get(name, NOTHING).mem - self._offers[number].mem
                if lacking != self._lacking[number]:
                    self._move(number, lacking)

    def _numbers_of(self, name: str) -> Sequence[int]:
        """An agent may offer for several roles."""
        if not self._numbers:
            for number, offer in enumerate(self._offers):
                self._numbers.setdefault(offer.agent, []).append(number)
        return self._numbers.get(name, ())

    def _agent(self, number: int) -> _Free:
        found = self._looked_at.get(number)
        if found is None:
            offer = self._offers[number]
            found = self._looked_at[number] = _Free(offer, self._held.get(offer.agent, NOTHING))
        return found

    def place(self, one: Waiting, copies: _Copies) -> Placed | None:
        """On the first that is fit: those with the fewest instances of the app come first, then those with the most
        memory left. Few are looked at as long as there is room."""
        for number in self._candidates(copies):
            agent = self._agent(number)
            values = values_of(one.app, agent.offer)
            if agent.offer.draining or agent.offer.role not in one.app.offered_roles:
                continue
            if agent.offer.containerizer and copies.unsupported:
                continue
            if copies.neighbours.excluded_by(values) or agent.shortages(one.app):
                continue
            fit = agent.fit(one)
            if isinstance(fit, str):
                continue
            placed = msgspec.structs.replace(fit, constraint_values=values) if values else fit
            self._take(number, placed, one.app)
            copies.add(placed)
            return placed
        return None

    def unfit(self, one: Waiting, copies: _Copies) -> Iterator[_Unfit]:
        """What each says against an instance that goes nowhere."""
        for number in self._order:
            agent = self._agent(number)
            excluded = tuple(copies.neighbours.excluded_by(values_of(one.app, agent.offer)))
            short = agent.shortages(one.app)
            other_role = agent.offer.role not in one.app.offered_roles
            cannot = agent.offer.containerizer and bool(copies.unsupported)
            reasons = ["UnfulfilledRole"] * other_role + ["UnfulfilledContainerizer"] * cannot
            reasons += ["UnfulfilledConstraint"] * bool(excluded)
            reasons += ["AgentMaintenance"] * agent.offer.draining + [*short]
            if not reasons and isinstance(fit := agent.fit(one), str):
                reasons = [fit]
            yield _Unfit(unused=agent.unused(tuple(reasons)), shortages=short, constraints=excluded)

    def of_another_target(self) -> list[_Unfit]:
        agents = map(self._agent, range(len(self._offers)))
        return [_Unfit(unused=agent.unused(("UnfulfilledTarget",))) for agent in agents]

    def _candidates(self, copies: _Copies) -> Iterator[int]:
        """With a GROUP_BY all are compared by their groups; else those without an instance of the app are the first."""
        if any(text[1] == "GROUP_BY" for text in copies.app.constraints):
            yield from sorted(self._order, key=lambda number: self._rank(number, copies))
            return
        for number in self._order:
            if self._offers[number].agent not in copies.everywhere:
                yield number
        taken = [number for name in copies.everywhere if name is not None for number in self._numbers_of(name)]
        yield from sorted(taken, key=lambda number: (self._rank(number, copies), -self._agent(number).mem, number))

    def _rank(self, number: int, copies: _Copies) -> tuple[tuple[int, ...], int, int]:
        offer = self._offers[number]
        crowd = copies.neighbours.crowd(values_of(copies.app, offer))
        return crowd, copies.alike[offer.agent], copies.everywhere[offer.agent]

    def _take(self, number: int, placed: Placed, app: App) -> None:
        agent = self._agent(number)
        agent.take(placed.address, placed.host_ports, app)
        self._move(number, -agent.mem)

    def _move(self, number: int, lacking: float) -> None:
        del self._order[bisect_left(self._order, self._place_in_order(number), key=self._place_in_order)]
        self._lacking[number] = lacking
        insort(self._order, number, key=self._place_in_order)

    def _place_in_order(self, number: int) -> tuple[float, int]:
        return self._lacking[number], number


class Room:
    """What offers have left beside what is `held` of each agent, by its name. Kept from one placement to the next and
    told what has changed: of thousands of agents that are few."""

    def __init__(self, offers: Sequence[Offer], held: Mapping[str, Held]) -> None:
        self.offers = offers
        self._held = held
        self._agents = {
            target: _Agents([one for one in offers if one.target == target], held)
            for target in dict.fromkeys(map(TARGET, offers))
        }

    def renew(self, held: Mapping[str, Held], names: Iterable[str]) -> None:
        """`held` is as before but of these agents."""
        self._held = held
        names = list(names)
        for agents in self._agents.values():
            agents.renew(held, names)

    def agents(self, wanted: Iterable[str]) -> dict[str, _Agents]:
        """To be taken from, by target; those that are `wanted` even where nothing is offered."""
        found = {target: self._agents[target].copy() for target in wanted if target in self._agents}
        nothing = {target: _Agents((), {}) for target in wanted if target not in self._agents}
        return found | nothing | {target: one for target, one in self._agents.items() if target not in found}


def place(
    waiting: Iterable[Waiting], offers: Sequence[Offer], held: Iterable[tuple[Instance, App]]
) -> tuple[list[Placed], list[Refused]]:
    """As `place_beside`, where `held` are all instances that are on an agent, with their app."""
    waiting = list(waiting)
    on_agent: dict[str | None, list[tuple[Instance, App]]] = {}
    of_app: dict[str, list[Instance]] = {one.app.id: [] for one in waiting}
    for instance, app in held:
        on_agent.setdefault(instance.agent, []).append((instance, app))
        if instance.live and instance.app_id in of_app:
            of_app[instance.app_id].append(instance)
    return place_beside(waiting, Room(offers, {agent or "": held_by(some) for agent, some in on_agent.items()}), of_app)


def place_beside(
    waiting: Iterable[Waiting], room: Room, of_app: Mapping[str, Sequence[Instance]]
) -> tuple[list[Placed], list[Refused]]:
    """Place the waiting instances, oldest first, within their constraints, away from other instances of their app, and
    where the most memory is left.

    `room` stays as it is; `of_app`: the live instances on agents of the apps that wait.
    """
    queue = sorted(waiting, key=lambda one: (one.instance.created_at, one.instance.id))
    agents = room.agents(dict.fromkeys(one.instance.target for one in queue))
    known: dict[tuple[str, ...], _Copies] = {}
    placed: list[Placed] = []
    refused: list[Refused] = []
    for one in queue:
        key = (one.app.id, one.instance.version_id, one.instance.target, *one.instead_of)
        if key not in known:
            known[key] = _Copies(one, of_app.get(one.app.id, ()))
        copies = known[key]
        found = None if copies.refused else agents[one.instance.target].place(one, copies)
        if found is not None:
            placed.append(found)
            continue
        # Nobody gives anything back meanwhile, so that what is said of one holds for all that are like it.
        copies.refused = copies.refused or _refused(one, copies, agents)
        refused.append(msgspec.structs.replace(copies.refused, instance_id=one.instance.id))
    return placed, refused


def _refused(one: Waiting, copies: _Copies, agents: Mapping[str, _Agents]) -> Refused:
    """What all agents say against the instance, together."""
    unfit = list(agents[one.instance.target].unfit(one, copies))
    for target, others in agents.items():
        unfit += others.of_another_target() if target != one.instance.target else ()
    unfit.sort(key=lambda agent: -agent.unused.mem)
    shortages: dict[str, Shortage] = {}
    for agent in unfit:
        for reason, shortage in agent.shortages.items():
            shortages[reason] = max(shortage, shortages.get(reason, shortage), key=lambda known: known.free)
    unused = [agent.unused for agent in unfit]
    return Refused(
        instance_id=one.instance.id,
        app_id=one.app.id,
        agents=len(unfit),
        reasons=dict(Counter(reason for agent in unused for reason in agent.reasons).most_common()),
        shortages=shortages,
        constraints=dict(Counter(words for agent in unfit for words in agent.constraints).most_common()),
        unsupported=copies.unsupported,
        sifted=dict(Counter(min(agent.reasons, key=FUNNEL.index) for agent in unused)),
        unused=tuple(unused[:UNUSED_KEPT]),
    )
