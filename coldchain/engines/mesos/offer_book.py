"""offer book: which offers are held, what is believed of agents that offer nothing at present, and what is packed on
them. No clock and no wire: it is told what came, and says what to answer.

An offer comes with all that its agent has free for a role, so it takes the place of whatever was believed before; an
offer that is accepted or declined leaves its rest as a belief. Beliefs can be stale, when another framework takes what
was declined: then the next launch there waits in vain, and they are dropped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coldchain.clients.mesos.events import Offer as MesosOffer
from coldchain.engines.mesos.agent_attributes import CONTAINERIZER, Containerizer, agent_url, attribute_text
from coldchain.engines.mesos.resources import ALL, NOTHING, Amounts, Document, Pool, documents, pools_of, summed
from coldchain.model.base import Noun
from coldchain.model.offer import Offer


class HeldOffer(Noun, frozen=True, kw_only=True):
    """`role`: of the framework, that it is for. `executors`: those that are there already."""

    id: str
    role: str
    pools: dict[str, Pool]
    executors: frozenset[str]


class Wanted(Noun, frozen=True, kw_only=True):
    """A launch that waits for room on its agent, out of what is reserved for one of `reserved_for`, the first that has
    enough. `roles`: for which of the framework the offer may be, so that quota and fair shares of roles are kept;
    none named: for any. `adopts`: an executor of ours is to take over what runs, whoever runs tasks on the agent by
    now; `needs_executor`: the Docker containerizer of an agent cannot run it."""

    task_id: str
    agent: str
    reserved_for: tuple[str, ...]
    amounts: Amounts
    roles: tuple[str, ...] = ()
    adopts: bool = False
    needs_executor: bool = False


class Fitted(Noun, frozen=True, kw_only=True):
    """A launch that has room."""

    task_id: str
    reserved_for: str
    resources: tuple[Document, ...]


class Acceptance(Noun, frozen=True, kw_only=True):
    """What one agent's offers are taken for, in one call. `executor`: ours; where there is none, the Docker
    containerizer of the agent at `agent_url` runs what is launched."""

    agent: str
    agent_id: str
    role: str
    offer_ids: tuple[str, ...]
    executor: Document | None
    fitted: tuple[Fitted, ...]
    agent_url: str = ""


ALREADY = 0.0
"""Since when an agent is away that Mesos drains."""
MakeExecutor = Callable[[str, list[Document]], Document]
"""The ExecutorInfo for an agent (its id) with these resources."""


@dataclass(kw_only=True)
class KnownAgent:
    """`believed` by role of the framework. `unavailable_from`: when its operator takes it away, in seconds since the
    epoch. `url`: of its API. `contains`: its own Docker containerizer runs tasks, and no executor of ours."""

    name: str
    id: str
    url: str = ""
    contains: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    region: str | None = None
    zone: str | None = None
    unavailable_from: float | None = None
    offers: dict[str, HeldOffer] = field(default_factory=dict)
    believed: dict[str, dict[str, Pool]] = field(default_factory=dict)
    executors: set[str] = field(default_factory=set)


class OfferBook:
    """`executor`: what an executor of ours takes; `containerizer`: who runs tasks on agents that do not say so."""

    def __init__(self, target: str, executor: Amounts, containerizer: Containerizer = "executor") -> None:
        self.agents: dict[str, KnownAgent] = {}
        self._target = target
        self._executor = executor
        self._containerizer = containerizer
        self._names: dict[str, str] = {}
        self._agent_of_offer: dict[str, str] = {}
        self._lost: set[str] = set()

    # What came

    def reset(self) -> None:
        """The subscription ended: no offer is worth anything any more, and all come again with the next one."""
        self.agents.clear()
        self._names.clear()
        self._agent_of_offer.clear()
        self._lost.clear()

    def offered(self, offers: Iterable[MesosOffer]) -> None:
        for one in offers:
            agent = self._agent(one)
            role = one.allocation_info.role if one.allocation_info else ALL  # their word
            held = HeldOffer(
                id=one.id.value,
                role=role,
                pools=pools_of(one.resources),
                executors=frozenset(each.value for each in one.executor_ids),
            )
            agent.believed = {
                other: {name: pool for name, pool in pools.items() if name != ALL}
                for other, pools in agent.believed.items()
                if other != role
            }
            agent.offers[held.id] = held
            agent.executors = set(held.executors)
            self._agent_of_offer[held.id] = agent.name

    def rescinded(self, offer_id: str) -> None:
        """Somebody else has it now, or the agent left."""
        name = self._agent_of_offer.pop(offer_id, None)
        if name is not None:
            del self.agents[name].offers[offer_id]

    def agent_lost(self, agent_id: str) -> None:
        name = self._names.pop(agent_id, None)
        if name is None:
            return
        for offer_id in self.agents.pop(name).offers:
            del self._agent_of_offer[offer_id]
        self._lost.add(name)

    def is_lost(self, name: str) -> bool:
        """It was there in this subscription, and has offered nothing since it was lost."""
        return name in self._lost

    def executor_lost(self, agent_id: str, executor_id: str) -> None:
        if name := self._names.get(agent_id):
            self.agents[name].executors.discard(executor_id)

    def has_executor(self, agent_id: str, executor_id: str) -> bool:
        """As far as offers tell."""
        name = self._names.get(agent_id)
        return name is not None and executor_id in self.agents[name].executors

    def unavailable(self, agent_id: str, start: float | None) -> None:
        """Its operator says so, or takes it back."""
        if name := self._names.get(agent_id):
            self.agents[name].unavailable_from = start

    def drained(self, agent_id: str) -> None:
        """Mesos ends what runs there, and offers it no more until its operator lets it; the next offer says so."""
        if name := self._names.get(agent_id):
            self.agents[name].unavailable_from = ALREADY

    def drained_agents(self) -> list[str]:
        """By Mesos's ids."""
        return [one.id for one in self.agents.values() if one.unavailable_from == ALREADY]

    def executors_on(self, agent_id: str) -> list[str]:
        """Ours, as far as we know."""
        name = self._names.get(agent_id)
        return sorted(self.agents[name].executors) if name is not None else []

    # What is answered

    def pack(self, wanted: Sequence[Wanted], make_executor: MakeExecutor) -> list[Acceptance]:
        """Take the offers of each agent that has room for some of those who wait, for all that fit. They are spent."""
        by_agent: dict[str, list[Wanted]] = {}
        for one in wanted:
            by_agent.setdefault(one.agent, []).append(one)
        found: list[Acceptance] = []
        for name, some in by_agent.items():
            agent = self.agents.get(name)
            if agent is None:
                continue
            waiting = list(some)
            for role in dict.fromkeys(offer.role for offer in agent.offers.values()):
                allowed = [one for one in waiting if not one.roles or role in one.roles]
                acceptance = self._pack_agent(agent, role, allowed, make_executor) if allowed else None
                if acceptance is not None:
                    found.append(acceptance)
                    done = {one.task_id for one in acceptance.fitted}
                    waiting = [one for one in waiting if one.task_id not in done]
        return found

    def release(self, chosen: Callable[[KnownAgent, HeldOffer], bool]) -> list[HeldOffer]:
        """Offers to be declined, with all others of their agent for their role; what they were is believed."""
        released: list[HeldOffer] = []
        for agent in self.agents.values():
            for role in {offer.role for offer in agent.offers.values() if chosen(agent, offer)}:
                released += [offer for offer in agent.offers.values() if offer.role == role]
                self._spend(agent, role, {})
        return released

    def disbelieve(self, agent: str) -> None:
        """A launch waited in vain for what was believed."""
        if agent in self.agents:
            self.agents[agent].believed.clear()

    @property
    def held(self) -> list[str]:
        """The ids of all offers that are."""
        return list(self._agent_of_offer)

    # What there is

    def capacity(self, used: Mapping[str, Mapping[str, Amounts]], leave_before: float) -> list[Offer]:
        """The whole of each agent, for each role it has something reserved for; `used`: what our own tasks have, by
        agent and reservation. An agent whose operator takes it away before `leave_before` is to be empty by then.

        Whoever places counts what all its instances have of an agent against each of its rows, so that each row gets
        on top what our tasks have of the others.
        """
        rows: list[Offer] = []
        for agent in self.agents.values():
            draining = agent.unavailable_from is not None and agent.unavailable_from < leave_before
            free = {role: pool.amounts for role, pool in self._free(agent).items()}
            have = used.get(agent.name, {})
            everything = NOTHING
            for amounts in have.values():
                everything = everything.plus(amounts)
            drained = agent.unavailable_from == ALREADY  # shown even with nothing on it, until it is offered again
            roles = sorted(free.keys() | have.keys()) or [ALL] * drained
            if not agent.executors and not agent.contains:
                free = _set_apart(free, roles, self._executor)
            for role in roles:
                if free.get(role, NOTHING) == NOTHING and role not in have and not drained:
                    continue
                rows.append(self._row(agent, role, free.get(role, NOTHING).plus(everything), draining=draining))
        return rows

    def spare(self, name: str) -> Amounts:
        """What an agent has free, reserved for whomever."""
        found = NOTHING
        for pool in self._free(self.agents[name]).values() if name in self.agents else ():
            found = found.plus(pool.amounts)
        return found

    def agent_named(self, name: str) -> KnownAgent | None:
        return self.agents.get(name)

    def name_of(self, agent_id: str) -> str | None:
        return self._names.get(agent_id)

    def _row(self, agent: KnownAgent, role: str, amounts: Amounts, *, draining: bool) -> Offer:
        return Offer(
            agent=agent.name,
            target=self._target,
            hostname=agent.name,
            cpus=amounts.cpus,
            mem=amounts.mem,
            disk=amounts.disk,
            gpus=int(amounts.gpus),
            port_ranges=amounts.ports,
            attributes=agent.attributes,
            region=agent.region,
            zone=agent.zone,
            role=role,
            draining=draining,
            containerizer=agent.contains,
        )

    def _free(self, agent: KnownAgent) -> dict[str, Pool]:
        return summed([*(one.pools for one in agent.offers.values()), *agent.believed.values()])

    def _agent(self, offer: MesosOffer) -> KnownAgent:
        """By its host name: after a reboot Mesos calls the same machine another agent."""
        known = self.agents.get(offer.hostname)
        if known is None or known.id != offer.agent_id.value:
            if known is not None:
                self.agent_lost(known.id)
            known = self.agents[offer.hostname] = KnownAgent(name=offer.hostname, id=offer.agent_id.value)
            self._lost.discard(offer.hostname)
            self._names[known.id] = known.name
        known.attributes = {one.name: attribute_text(one) for one in offer.attributes}
        known.url = agent_url(offer)
        known.contains = known.attributes.get(CONTAINERIZER, self._containerizer) == "docker"
        domain = offer.domain.fault_domain if offer.domain else None
        known.region, known.zone = (domain.region.name, domain.zone.name) if domain else (None, None)
        known.unavailable_from = offer.unavailability.start.seconds if offer.unavailability else None
        return known

    def _pack_agent(
        self, agent: KnownAgent, role: str, waiting: Sequence[Wanted], make_executor: MakeExecutor
    ) -> Acceptance | None:
        """Where the agent runs containers itself, what is to be taken over goes first, and the others without ours."""
        if not agent.contains:
            return self._pack_by(agent, role, waiting, make_executor)
        left = [one for one in waiting if one.adopts]
        plain = [one for one in waiting if not one.adopts and not one.needs_executor]
        return self._pack_by(agent, role, left, make_executor) or self._pack_by(agent, role, plain, None)

    def _pack_by(
        self, agent: KnownAgent, role: str, waiting: Sequence[Wanted], make_executor: MakeExecutor | None
    ) -> Acceptance | None:
        """By an executor of ours, if one is made, else by that of Mesos."""
        offers = [one for one in agent.offers.values() if one.role == role]
        pools = summed(one.pools for one in offers)
        free = {name: pool.amounts for name, pool in pools.items()}
        executor, share_of = None, None
        if make_executor is not None:
            executor, share_of = self._executor_on(agent, role, pools, make_executor)
            if executor is None:
                return None
        if share_of is not None:
            free[share_of] = free[share_of].minus(self._executor)
        fitted: list[Fitted] = []
        for one in waiting:
            name = next((name for name in one.reserved_for if name in free and free[name].covers(one.amounts)), None)
            if name is None:
                continue
            free[name] = free[name].minus(one.amounts)
            resources = tuple(documents(one.amounts, role, pools[name].reservations))
            fitted.append(Fitted(task_id=one.task_id, reserved_for=name, resources=resources))
        if not fitted:
            return None
        rest = {name: Pool(amounts=amounts, reservations=pools[name].reservations) for name, amounts in free.items()}
        self._spend(agent, role, rest)
        if executor is not None:
            agent.executors.add(executor["executor_id"]["value"])
        return Acceptance(
            agent=agent.name,
            agent_id=agent.id,
            role=role,
            offer_ids=tuple(one.id for one in offers),
            executor=executor,
            fitted=tuple(fitted),
            agent_url=agent.url if executor is None else "",
        )

    def _executor_on(
        self, agent: KnownAgent, role: str, pools: Mapping[str, Pool], make_executor: MakeExecutor
    ) -> tuple[Document | None, str | None]:
        """The one that is there, else one that there is room for, and what its share is taken from; or none."""
        reservations = {ALL: (), **{name: pools[name].reservations for name in sorted(pools)}}
        made = {
            name: make_executor(agent.id, documents(self._executor, role, some)) for name, some in reservations.items()
        }
        for one in made.values():
            if one["executor_id"]["value"] in agent.executors:
                return one, None
        for name, one in made.items():
            if name in pools and pools[name].amounts.covers(self._executor):
                return one, name
        return None, None

    def _spend(self, agent: KnownAgent, role: str, rest: Mapping[str, Pool]) -> None:
        spent = [one for one in agent.offers.values() if one.role == role]
        agent.believed[role] = dict(rest) or summed(one.pools for one in spent)
        for one in spent:
            del agent.offers[one.id]
            del self._agent_of_offer[one.id]


def _set_apart(free: Mapping[str, Amounts], roles: Iterable[str], executor: Amounts) -> dict[str, Amounts]:
    """An agent without an executor of ours needs room for one; where it stands is open, so each row has it less."""
    return {role: free.get(role, NOTHING).minus(executor) for role in roles}
