"""master: the leading master of Mesos, as real ones were seen to behave, and how the next one learns of everything."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from coldchain.clients.mesos.events import (
    Error,
    Event,
    Failure,
    Identity,
    Message,
    Nanoseconds,
    Offer,
    Offers,
    Rescind,
    Status,
    Subscribed,
    Unavailability,
    Update,
)
from coldchain.testing.simulation.mesos.agent import TERMINAL, Agent
from coldchain.testing.simulation.mesos.amounts import Amount, amount_of, resources_of, total
from coldchain.testing.simulation.mesos.statuses import status_of

if TYPE_CHECKING:
    from coldchain.testing.simulation.mesos.scheduler import Subscription
    from coldchain.testing.simulation.mesos.world import MesosWorld

Document = dict[str, Any]
ROUND_SECONDS = 1.0
"""Between two rounds of offers."""
UNREACHABLE_SECONDS = 10.0
"""So long an agent may be silent. Mesos's own is 75 s: that would make lives long."""
REREGISTRATION_SECONDS = 30.0
"""So long agents have to come to a new leading master. Mesos's own is 10 minutes."""
MASTER = "SOURCE_MASTER"


@dataclass(kw_only=True, eq=False)
class KnownTask:
    """`last`: the uuid of the update that tells its end; with its acknowledgement the task is over."""

    id: str
    amount: Amount
    state: str = "TASK_STAGING"
    last: str = ""


@dataclass(kw_only=True, eq=False)
class KnownAgent:
    """What the master knows of an agent. `heard_at`: when it last answered."""

    agent: Agent
    heard_at: float
    connected: bool = True
    tasks: dict[str, KnownTask] = field(default_factory=dict)
    executors: dict[str, Document] = field(default_factory=dict)
    offers: dict[str, Amount] = field(default_factory=dict)
    refused_until: float = 0.0

    @property
    def given(self) -> Amount:
        tasks = [one.amount for one in self.tasks.values() if one.state not in TERMINAL]
        return total([*tasks, *(amount_of(one["resources"]) for one in self.executors.values())])

    @property
    def free(self) -> Amount:
        offered = total(self.offers.values())
        return self.agent.machine.amount.minus(self.given).minus(offered)


class Masters:
    """All of them, of which one leads or none; `term`: of the last that did. What is on their registry outlives each:
    `admitted`, `unreachable` (since when), `gone`; with `kept` False there is no such thing. `removed`: frameworks."""

    def __init__(self, world: "MesosWorld") -> None:
        self.world = world
        self.leading = True
        self.kept = True
        self.agents: dict[str, KnownAgent] = {}
        self.recovered: set[str] = set()
        self.admitted: set[str] = set()
        self.unreachable: dict[str, float] = {}
        self.gone: set[str] = set()
        self.removed: set[str] = set()
        self.framework_id = ""
        self.subscription: Subscription | None = None
        self._suppressed = False
        self._numbers = 0
        self.term = 0

    # Leading

    def fail(self) -> None:
        """The leading one is gone; its successor knows what is on the registry."""
        self.leading = False
        self.term += 1
        self.agents.clear()
        if not self.kept:
            self.unreachable.clear()
        self.recovered = set(self.admitted) - set(self.unreachable) if self.kept else set()
        self.framework_id = ""
        self.removed.clear()
        self.cut("the master is gone")

    def lead(self) -> None:
        self.leading = True
        term = self.term
        self.world.later(REREGISTRATION_SECONDS, lambda: self._give_up_recovered() if self.term == term else None)
        for machine in self.world.machines:
            machine.agent.new_leader()

    def _give_up_recovered(self) -> None:
        now = self.world.clock.now()
        self.unreachable.update(dict.fromkeys(self.recovered, now))
        self.admitted -= self.recovered
        self.recovered.clear()

    def round(self) -> None:
        """What a master does every second."""
        self.world.later(ROUND_SECONDS, self.round)
        if not self.leading:
            return
        now = self.world.clock.monotonic()
        for name, known in tuple(self.agents.items()):
            if known.agent.up and known.agent.id == name and not known.agent.machine.cut_off:
                known.heard_at = now
            elif now - known.heard_at > UNREACHABLE_SECONDS:
                self._lose(name, known)
        self.offer()

    def offer(self) -> None:
        """All that is free, one offer for each agent."""
        now = self.world.clock.monotonic()
        if self.subscription is None or self._suppressed:
            return
        found = []
        for name, known in self.agents.items():
            free = known.free
            if known.connected and not free.empty and now >= known.refused_until:
                self._numbers += 1
                known.offers[f"O{self._numbers}"] = free
                found.append(self._offer(f"O{self._numbers}", name, known, free))
        if found:
            self.tell(Event(type="OFFERS", offers=Offers(offers=tuple(found))))

    def _offer(self, offer_id: str, name: str, known: KnownAgent, amount: Amount) -> Offer:
        leaving = known.agent.leaving
        return Offer(
            id=Identity(value=offer_id),
            agent_id=Identity(value=name),
            hostname=known.agent.machine.name,
            resources=resources_of(amount),
            executor_ids=tuple(Identity(value=one) for one in known.executors),
            unavailability=None
            if leaving is None
            else Unavailability(start=Nanoseconds(nanoseconds=int(leaving * 1e9))),
        )

    def tell(self, event: Event) -> None:
        if self.subscription is not None:
            self.subscription.tell(event)

    def cut(self, trouble: str) -> None:
        """The stream ends; what was offered on it is void."""
        if self.subscription is not None:
            self.subscription.end(trouble)
            self.subscription = None
        for known in self.agents.values():
            known.offers.clear()

    def rescind(self, known: KnownAgent) -> None:
        for offer_id in known.offers:
            self.tell(Event(type="RESCIND", rescind=Rescind(offer_id=Identity(value=offer_id))))
        known.offers.clear()

    # Agents

    def register(self, agent: Agent) -> None:
        """An agent comes, for the first time or again."""
        now = self.world.clock.monotonic()
        if agent.id in self.gone:
            agent.shut_down()
            return
        for name, other in tuple(self.agents.items()):
            if other.agent is agent and name != agent.id:
                self._remove(name, other, "a new agent registered at the same address")
        new = not agent.id
        if new:
            self._numbers += 1
            agent.id = f"S{self._numbers}"
        known = self.agents.get(agent.id)
        again = known is not None
        if known is None:
            known = self.agents[agent.id] = KnownAgent(agent=agent, heard_at=now)
        known.connected, known.heard_at = True, now
        expected = [name for name, one in known.tasks.items() if one.state not in TERMINAL]
        words = ""
        if agent.id in self.unreachable:
            words = "Unreachable agent re-reregistered"
        elif not new and not again and agent.id not in self.recovered:
            words = "Unknown agent reregistered"
        self.unreachable.pop(agent.id, None)
        self.recovered.discard(agent.id)
        self.admitted.add(agent.id)
        self._take_over(known, agent, words)
        agent.welcomed(agent.id, expected, not new)

    def _take_over(self, known: KnownAgent, agent: Agent, words: str) -> None:
        """What the agent has is what there is."""
        for framework_id in sorted(agent.frameworks & self.removed):
            agent.framework_gone(framework_id)
        for executor in agent.executors.values():
            if executor.framework_id not in self.removed:
                self.framework_id = self.framework_id or executor.framework_id
                known.executors.setdefault(executor.id, executor.information)
        for task in agent.tasks:
            amount = amount_of(task.information["resources"])
            held = known.tasks.setdefault(task.id, KnownTask(id=task.id, amount=amount))
            held.state = task.state
            if words:
                self._say(task.id, task.state, "REASON_AGENT_REREGISTERED", agent.id, words)
        for name in [one for one in known.executors if one not in agent.executors]:
            del known.executors[name]

    def agent_disconnected(self, agent: Agent) -> None:
        """Its connection is closed: it ended, and nobody is to be asked there."""
        known = self.agents.get(agent.id)
        if known is not None and self.leading and not agent.machine.cut_off:
            known.connected = False
            self.rescind(known)

    def _lose(self, name: str, known: KnownAgent) -> None:
        """It was silent for too long."""
        at = self.world.clock.now()
        self.rescind(known)
        del self.agents[name]
        self.admitted.discard(name)
        self.unreachable[name] = at
        known.agent.registered = False
        for task in known.tasks.values():
            if task.state not in TERMINAL:
                self._say(task.id, "TASK_UNREACHABLE", "REASON_AGENT_REMOVED", name, "health check timed out", at)
        self.tell(Event(type="FAILURE", failure=Failure(agent_id=Identity(value=name))))
        if known.agent.up:
            self.world.later(1.0, known.agent.register)

    def _remove(self, name: str, known: KnownAgent, words: str) -> None:
        self.rescind(known)
        del self.agents[name]
        self.admitted.discard(name)
        for task in known.tasks.values():
            if task.state not in TERMINAL:
                self._say(task.id, "TASK_LOST", "REASON_AGENT_REMOVED", name, words)

    def mark_gone(self, name: str) -> None:
        """By its operator."""
        known = self.agents.pop(name, None)
        if known is None:
            return
        self.rescind(known)
        self.admitted.discard(name)
        self.gone.add(name)
        for task in known.tasks.values():
            if task.state not in TERMINAL:
                self._say(task.id, "TASK_GONE_BY_OPERATOR", "REASON_AGENT_REMOVED_BY_OPERATOR", name, "marked gone")
        self.tell(Event(type="FAILURE", failure=Failure(agent_id=Identity(value=name))))
        if known.agent.up:
            known.agent.shut_down()
        else:
            known.agent.wipe()

    def updated(self, agent: Agent, status: Document, latest: str) -> None:
        """An agent passes an update on. `latest`: the state of the task as the agent has it."""
        world = self.world

        def arrive() -> None:
            known = self.agents.get(agent.id)
            if known is None or not self.leading or agent.machine.cut_off:
                return
            task = known.tasks.get(status["task_id"]["value"])
            if task is not None:
                task.state = latest
                task.last = status["uuid"] if status["state"] in TERMINAL else ""
            world.told[status["uuid"]] = status
            self.tell(Event(type="UPDATE", update=Update(status=status_of(status, agent.id))))

        if world.hits("update not passed on", *world.on(agent.machine, status["task_id"]["value"])):
            return
        if world.hits("update told twice", *world.on(agent.machine, status["task_id"]["value"])):
            world.along(agent, arrive)
        world.along(agent, arrive)

    def message(self, agent: Agent, executor_id: str, data: str) -> None:
        if self.leading and agent.registered and not agent.machine.cut_off:
            said = Message(agent_id=Identity(value=agent.id), executor_id=Identity(value=executor_id), data=data)
            self.world.along(agent, lambda: self.tell(Event(type="MESSAGE", message=said)))

    def executor_exited(self, agent: Agent, executor_id: str) -> None:
        known = self.agents.get(agent.id)
        if known is None or not self.leading or not agent.registered or agent.machine.cut_off:
            return

        def arrive() -> None:
            known.executors.pop(executor_id, None)
            if self.world.draw("failure").random() < 0.5:  # whether it is told is chance
                named = Failure(agent_id=Identity(value=agent.id), executor_id=Identity(value=executor_id), status=9)
                self.tell(Event(type="FAILURE", failure=named))

        self.world.along(agent, arrive)

    def _say(
        self, task_id: str, state: str, reason: str, agent_id: str, words: str, since: float | None = None
    ) -> None:
        status = Status(
            task_id=Identity(value=task_id),
            state=state,
            message=words,
            source=MASTER,
            reason=reason,
            agent_id=Identity(value=agent_id) if agent_id else None,
            timestamp=self.world.clock.now(),
            unreachable_time=Nanoseconds(nanoseconds=int(since * 1e9)) if since is not None else None,
        )
        self.tell(Event(type="UPDATE", update=Update(status=status)))

    # The framework

    def subscribe(self, subscription: "Subscription", framework: Document) -> None:
        named = framework.get("id", {}).get("value", "")
        if named in self.removed:
            subscription.tell(Event(type="ERROR", error=Error(message="Framework has been removed")))
            return
        if self.subscription is not None:
            self.tell(Event(type="ERROR", error=Error(message="Framework failed over")))
            self.cut("failed over")
        if not named:
            self._numbers += 1
            named = f"F{self._numbers}"
        self.framework_id = named
        self.subscription = subscription
        self._suppressed = False
        for known in self.agents.values():
            known.offers.clear()
            known.refused_until = 0.0
        self.tell(Event(type="SUBSCRIBED", subscribed=Subscribed(framework_id=Identity(value=named))))
        self.world.later(0.05, self.offer)

    def remove_framework(self) -> None:
        """Torn down, or away for longer than its failover time."""
        if self.framework_id:
            self.removed.add(self.framework_id)
        for known in self.agents.values():
            known.tasks.clear()
            known.executors.clear()
            gone = partial(known.agent.framework_gone, self.framework_id)
            self._to_agent(known, gone)
        self.framework_id = ""
        self.cut("the framework is removed")

    def called(self, kind: str, content: Document) -> None:
        """A call arrived."""
        match kind:
            case "ACCEPT":
                self._accept(content["accept"])
            case "DECLINE":
                now = self.world.clock.monotonic()
                for known, offer_id in self._offered(content["decline"]["offer_ids"]):
                    del known.offers[offer_id]
                    known.refused_until = now + content["decline"]["filters"]["refuse_seconds"]
            case "SUPPRESS":
                self._suppressed = True
            case "REVIVE":
                self._suppressed = False
                for known in self.agents.values():
                    known.refused_until = 0.0
                self.world.later(0.05, self.offer)
            case "RECONCILE":
                self._reconcile(content["reconcile"]["tasks"])
            case "KILL":
                self._kill(content["kill"])
            case "ACKNOWLEDGE":
                self._acknowledge(content["acknowledge"])
            case "MESSAGE":
                self._pass_on(content["message"], {"type": "MESSAGE", "message": {"data": content["message"]["data"]}})
            case "SHUTDOWN":
                self._pass_on(content["shutdown"], {"type": "SHUTDOWN"})

    def _pass_on(self, named: Document, event: Document) -> None:
        """To an executor, once, if its agent is there."""
        known = self.agents.get(named["agent_id"]["value"])
        if known is not None:
            self._to_agent(known, lambda: known.agent.pass_on(named["executor_id"]["value"], event))

    def _offered(self, named: Iterable[Document]) -> list[tuple[KnownAgent, str]]:
        ids = [one["value"] for one in named]
        return [(known, one) for one in ids for known in self.agents.values() if one in known.offers]

    def _accept(self, accept: Document) -> None:
        offers = self._offered(accept["offer_ids"])
        infos = accept["operations"][0]["launch"]["task_infos"]
        offered = total(known.offers.pop(offer_id) for known, offer_id in offers)
        if len(offers) < len(accept["offer_ids"]):
            for info in infos:
                name = info["agent_id"]["value"]
                self._say(info["task_id"]["value"], "TASK_DROPPED", "REASON_INVALID_OFFERS", name, "no such offer")
            return
        known = offers[0][0]
        for info in infos:
            if self._clashes(info["task_id"]["value"], info["agent_id"]["value"]):
                continue
            executor, need = info["executor"], amount_of(info["resources"])
            name = executor["executor_id"]["value"]
            if name not in known.executors:
                need = need.plus(amount_of(executor["resources"]))
            if not offered.covers(need):
                self.world.checkers.violated("offered", f"{info['task_id']['value']} takes {need} of {offered}")
            elif known.executors.get(name, executor) != executor:
                self.world.checkers.violated("offered", f"executor {name} is not the one of that name")
            offered = offered.minus(need)
            known.executors[name] = executor
            task = KnownTask(id=info["task_id"]["value"], amount=amount_of(info["resources"]))
            known.tasks[task.id] = task
            self._to_agent(known, partial(known.agent.launch, self.framework_id, info))
        if not known.agent.machine.amount.covers(known.given):
            self.world.checkers.violated("offered", f"{known.agent.machine.name} has given {known.given}")

    def _clashes(self, task_id: str, agent_id: str) -> bool:
        """Mesos refuses an id that it knows a task by. One that has ended is known until its end is acknowledged."""
        task = next((one.tasks[task_id] for one in self.agents.values() if task_id in one.tasks), None)
        if task is None:
            return False
        if task.state not in TERMINAL:
            self.world.checkers.violated("offered", f"{task_id} is launched a second time")
        self._say(task_id, "TASK_ERROR", "REASON_TASK_INVALID", agent_id, f"Task has duplicate ID: {task_id}")
        return True

    def _to_agent(self, known: KnownAgent, work: Callable[[], object]) -> None:
        agent, epoch = known.agent, known.agent.epoch

        def arrive() -> None:
            if agent.up and agent.registered and agent.epoch == epoch and known.connected:
                work()

        self.world.along(agent, arrive, back=True)

    def _reconcile(self, named: list[Document]) -> None:
        if not named:
            for name, known in self.agents.items():
                for task in known.tasks.values():
                    self._say(task.id, task.state, "REASON_RECONCILIATION", name, "Latest task state")
            return
        for one in named:
            self._reconcile_one(one["task_id"]["value"], one.get("agent_id", {}).get("value", ""))

    def _reconcile_one(self, task_id: str, name: str) -> None:
        known = self.agents.get(name)
        task = next((one.tasks[task_id] for one in self.agents.values() if task_id in one.tasks), None)
        since = None
        if task is not None:
            state = task.state
        elif known is not None:
            state = "TASK_GONE"
        elif name in self.unreachable:
            state, since = "TASK_UNREACHABLE", self.unreachable[name]
        elif name in self.gone:
            state = "TASK_GONE_BY_OPERATOR"
        elif name in self.recovered or (not name and self.recovered):
            return  # it is yet to be seen
        else:
            state = "TASK_UNKNOWN"
        self._say(task_id, state, "REASON_RECONCILIATION", name, "Reconciliation", since)

    def _kill(self, kill: Document) -> None:
        task_id, name = kill["task_id"]["value"], kill.get("agent_id", {}).get("value", "")
        known = next((one for one in self.agents.values() if task_id in one.tasks), None)
        if known is None:
            self._reconcile_one(task_id, name)
        else:
            self._to_agent(known, partial(known.agent.end, self.framework_id, task_id, kill.get("kill_policy")))

    def _acknowledge(self, named: Document) -> None:
        task_id, uuid = named["task_id"]["value"], named["uuid"]
        self.world.acknowledged(task_id, uuid)
        known = self.agents.get(named["agent_id"]["value"])
        if known is None or self.world.hits("acknowledgement lost", *self.world.on(known.agent.machine, task_id)):
            return
        task = known.tasks.get(task_id)
        if task is not None and task.last == uuid:
            del known.tasks[task_id]
        self._to_agent(known, lambda: known.agent.acknowledged(task_id, uuid))
