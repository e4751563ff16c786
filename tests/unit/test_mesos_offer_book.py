"""The book of offers: none is used twice, and nothing of an agent is counted twice, whatever comes."""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coldchain.clients.mesos.events import Offer
from coldchain.engines.mesos.offer_book import OfferBook, Wanted
from coldchain.engines.mesos.resources import NOTHING, Amounts, Document, documents

EXECUTOR = Amounts(cpus=0.1, mem=32.0)
WHOLE = Amounts(cpus=4.0, mem=1024.0, ports=((1000, 1099),))
TASK = Amounts(cpus=1.0, mem=100.0)
FOR_EVER = -1e9


def make_executor(agent_id: str, resources: list[Document]) -> Document:
    return {"executor_id": {"value": "e"}, "resources": resources}


def offer(number: int, amounts: Amounts = WHOLE, *, agent: str = "a", role: str = "*", **more: Any) -> Offer:
    document = {
        "id": {"value": f"O{number}"},
        "agent_id": {"value": f"id of {agent}"},
        "hostname": agent,
        "resources": documents(amounts, role, more.pop("reservations", ())),
        "allocation_info": {"role": role},  # their word
        **more,
    }
    return msgspec.convert(document, Offer)


def wanted(
    name: str,
    agent: str = "a",
    amounts: Amounts = TASK,
    reserved_for: tuple[str, ...] = ("*",),
    roles: tuple[str, ...] = (),
) -> Wanted:
    return Wanted(task_id=name, agent=agent, roles=roles, reserved_for=reserved_for, amounts=amounts)


def book(*offers: Offer) -> OfferBook:
    made = OfferBook("cluster", EXECUTOR)
    made.offered(offers)
    return made


def test_an_agent_is_packed_full_in_one_call() -> None:
    made = book(offer(1), offer(2, agent="b"))
    packed = made.pack([wanted(f"t{number}") for number in range(6)], make_executor)
    assert [(one.agent, one.offer_ids, [each.task_id for each in one.fitted]) for one in packed] == [
        ("a", ("O1",), ["t0", "t1", "t2"])  # the fourth has no room beside the executor
    ]
    assert made.pack([wanted("t3")], make_executor) == []


def test_several_offers_of_an_agent_are_taken_together() -> None:
    half = Amounts(cpus=1.0, mem=100.0)
    made = book(offer(1, half), offer(2, half))
    (packed,) = made.pack([wanted("t", amounts=Amounts(cpus=1.5, mem=150.0))], make_executor)
    assert packed.offer_ids == ("O1", "O2")


def test_an_executor_takes_its_share_once() -> None:
    made = book(offer(1))
    (row,) = made.capacity({}, FOR_EVER)
    assert (row.cpus, row.mem) == (3.9, 992.0)
    made.pack([wanted("t")], make_executor)
    (row,) = made.capacity({"a": {"*": TASK}}, FOR_EVER)
    assert (row.cpus, row.mem) == (3.9, 992.0)
    made.offered([offer(2, Amounts(cpus=2.9, mem=892.0), executor_ids=[{"value": "e"}])])
    (row,) = made.capacity({"a": {"*": TASK}}, FOR_EVER)
    assert (row.cpus, row.mem) == (3.9, 992.0)
    (packed,) = made.pack([wanted("u", amounts=Amounts(cpus=2.9, mem=892.0))], make_executor)
    assert packed.offer_ids == ("O2",)


def test_what_is_reserved_goes_to_whom_it_is_reserved_for() -> None:
    reserved = offer(1, TASK, role="shop", reservations=[{"type": "STATIC", "role": "shop"}])
    unreserved = offer(2, Amounts(cpus=1.5, mem=200.0), role="shop")
    made = book(reserved, unreserved)
    rows = {one.role: (one.cpus, one.mem) for one in made.capacity({"a": {"shop": TASK}}, FOR_EVER)}
    # Each row with what our task has of it or of the other, and without an executor, wherever that may stand.
    assert rows == {"*": (2.4, 268.0), "shop": (1.9, 168.0)}
    (packed,) = made.pack(
        [wanted("own", reserved_for=("shop", "*")), wanted("all", reserved_for=("*",))], make_executor
    )
    assert {one.task_id: one.reserved_for for one in packed.fitted} == {"own": "shop", "all": "*"}
    assert all(one["reservations"] for each in packed.fitted if each.task_id == "own" for one in each.resources)


def test_what_was_declined_is_counted_once_when_it_is_offered_again() -> None:
    reservations = [{"type": "STATIC", "role": "shop"}]
    made = book(offer(1, TASK, role="shop", reservations=reservations), offer(2, TASK, role="shop"))
    assert sorted(one.id for one in made.release(lambda agent, offer: True)) == ["O1", "O2"]
    before = made.capacity({}, FOR_EVER)
    assert [(row.role, row.cpus) for row in before] == [("*", 0.9), ("shop", 0.9)]
    made.offered([offer(3, TASK, role="shop", reservations=reservations)])
    assert [(row.role, row.cpus) for row in made.capacity({}, FOR_EVER)] == [("shop", 0.9)]
    made.offered([offer(4, TASK, role="other")])  # what is reserved for nobody comes for any role
    assert made.capacity({}, FOR_EVER) == before


def test_an_offer_for_another_role_is_not_taken() -> None:
    made = book(offer(1, role="other"))
    assert made.pack([wanted("t", roles=("shop",))], make_executor) == []
    made.offered([offer(2, role="shop")])
    (packed,) = made.pack([wanted("t", roles=("shop",))], make_executor)
    assert (packed.role, packed.offer_ids) == ("shop", ("O2",))
    assert made.release(lambda agent, one: one.role == "shop") == []
    assert [one.id for one in made.release(lambda agent, one: one.role == "other")] == ["O1"]


def test_a_machine_that_its_operator_takes_away_is_to_be_empty_by_then() -> None:
    made = book(offer(1, unavailability={"start": {"nanoseconds": 100 * 10**9}}))
    assert [row.draining for row in made.capacity({}, 99.0)] == [False]
    assert [row.draining for row in made.capacity({}, 101.0)] == [True]
    made.offered([offer(2)])
    assert [row.draining for row in made.capacity({}, 101.0)] == [False]
    made.unavailable("id of a", 100.0)
    assert [row.draining for row in made.capacity({}, 101.0)] == [True]


def test_the_same_machine_with_another_id_takes_the_place_of_the_one_before() -> None:
    made = book(offer(1))
    made.offered([msgspec.structs.replace(offer(2), agent_id=msgspec.structs.replace(offer(2).agent_id, value="new"))])
    (packed,) = made.pack([wanted("t")], make_executor)
    assert (packed.agent_id, packed.offer_ids) == ("new", ("O2",))
    made.agent_lost("id of a")
    assert made.agent_named("a") is not None


class Mesos(RuleBasedStateMachine):
    """One agent, shared with another framework; offers come and go as a master may have it."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OfferBook("cluster", EXECUTOR)
        self.numbers = 0
        self.tasks: dict[str, Amounts] = {}
        self.executor = False
        self.foreign = NOTHING
        self.open: dict[str, Amounts] = {}
        self.spent: set[str] = set()

    @property
    def unallocated(self) -> Amounts:
        left = WHOLE.minus(self.foreign)
        for amounts in (*self.tasks.values(), *self.open.values()):
            left = left.minus(amounts)
        return left.minus(EXECUTOR) if self.executor else left

    @precondition(lambda self: self.unallocated != NOTHING)
    @rule()
    def offer(self) -> None:
        self.numbers += 1
        amounts = self.unallocated
        made = offer(self.numbers, amounts, executor_ids=[{"value": "e"}] if self.executor else [])
        self.open[made.id.value] = amounts
        self.book.offered([made])

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def rescind(self, data: st.DataObject) -> None:
        taken = data.draw(st.sampled_from(sorted(self.open)))
        self.foreign = self.foreign.plus(self.open.pop(taken))
        self.book.rescinded(taken)

    @rule()
    def other_framework_leaves(self) -> None:
        self.foreign = NOTHING

    @rule(cpus=st.lists(st.integers(1, 20), min_size=1, max_size=5))
    def launch(self, cpus: list[int]) -> None:
        some = {f"t{self.numbers}.{index}": Amounts(cpus=one / 10, mem=one) for index, one in enumerate(cpus)}
        self.numbers += 1
        for packed in self.book.pack([wanted(name, amounts=one) for name, one in some.items()], make_executor):
            assert not self.spent & set(packed.offer_ids), "an offer was used twice"
            assert set(packed.offer_ids) <= self.open.keys(), "an offer was used that is gone"
            room = NOTHING
            for offer_id in packed.offer_ids:
                room = room.plus(self.open.pop(offer_id))
                self.spent.add(offer_id)
            asked = NOTHING if self.executor else EXECUTOR
            self.executor = True
            for fitted in packed.fitted:
                asked = asked.plus(some[fitted.task_id])
                self.tasks[fitted.task_id] = some[fitted.task_id]
            assert room.covers(asked), "more was launched than was offered"

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        del self.tasks[data.draw(st.sampled_from(sorted(self.tasks)))]

    @rule()
    def decline(self) -> None:
        released = [one.id for one in self.book.release(lambda agent, offer: True)]
        assert sorted(released) == sorted(self.open), "what is held is what Mesos has offered"
        assert not self.spent & set(released)
        self.spent |= set(released)
        self.open.clear()
        assert self.book.held == []

    @rule()
    def subscribe_again(self) -> None:
        self.open.clear()
        self.book.reset()

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        used = NOTHING
        for amounts in self.tasks.values():
            used = used.plus(amounts)
        for row in self.book.capacity({"a": {"*": used}} if self.tasks else {}, FOR_EVER):
            counted = Amounts(cpus=row.cpus, mem=row.mem, ports=row.port_ranges)
            assert WHOLE.minus(EXECUTOR).covers(counted), f"{counted} of {WHOLE}"


Mesos.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestMesos = Mesos.TestCase


def attributes(**given: str) -> dict[str, Any]:
    return {"attributes": [{"name": name, "type": "TEXT", "text": {"value": text}} for name, text in given.items()]}


def test_who_runs_tasks_is_said_by_the_agent_else_by_the_setting() -> None:
    for containerizer, given, contains in (
        ("executor", {}, False),
        ("docker", {}, True),
        ("executor", {"coldchain_containerizer": "docker"}, True),
        ("docker", {"coldchain_containerizer": "executor"}, False),
    ):
        made = OfferBook("cluster", EXECUTOR, containerizer)  # type: ignore[arg-type]
        made.offered([offer(1, **attributes(**given))])
        (row,) = made.capacity({}, FOR_EVER)
        assert (row.containerizer, row.cpus) == (contains, 4.0 if contains else 3.9)


def test_no_executor_takes_a_share_where_the_agent_runs_containers_itself() -> None:
    made = OfferBook("cluster", EXECUTOR, "docker")
    url = {"scheme": "http", "address": {"ip": "10.0.0.7", "port": 5051}, "path": "/slave(1)"}
    made.offered([offer(1, url=url)])
    four = [wanted(f"t{number}") for number in range(4)]
    ours = msgspec.structs.replace(wanted("ours"), needs_executor=True)
    (packed,) = made.pack([ours, *four], make_executor)
    assert [one.task_id for one in packed.fitted] == ["t0", "t1", "t2", "t3"]
    assert (packed.executor, packed.agent_url) == (None, "http://10.0.0.7:5051/slave(1)")
    assert made.capacity({"a": {"*": Amounts(cpus=4.0, mem=400.0)}}, FOR_EVER)[0].cpus == 4.0


def test_what_an_executor_left_is_taken_over_by_one_also_where_containers_run_without() -> None:
    made = OfferBook("cluster", EXECUTOR, "docker")
    made.offered([offer(1)])
    left = msgspec.structs.replace(wanted("left"), adopts=True)
    (packed,) = made.pack([wanted("plain"), left], make_executor)
    assert [one.task_id for one in packed.fitted] == ["left"]
    assert (packed.executor is None, packed.agent_url) == (False, "")
    made.offered([offer(2, executor_ids=[{"value": "e"}])])
    (packed,) = made.pack([wanted("plain")], make_executor)
    assert ([one.task_id for one in packed.fitted], packed.executor) == (["plain"], None)
    large = msgspec.structs.replace(left, amounts=Amounts(cpus=9.0))
    made.offered([offer(3)])
    (packed,) = made.pack([large, wanted("other")], make_executor)
    assert [one.task_id for one in packed.fitted] == ["other"]  # nobody waits for who finds no room
