"""What Mesos has given away to our tasks."""

import pytest

from coldchain.engines.mesos.infos import amounts_of, kept_spec
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.mesos import MesosTask, Standing
from coldchain.model.task import TaskStatus
from coldchain.testing.engine_labs import make_spec


def task(agent_id: str, standing: Standing) -> MesosTask:
    spec = kept_spec(make_spec("serves", task_id="t.1", instance_id="i"))
    told = TaskStatus(
        task_id="t.1", instance_id="i", app_id=spec.app_id, target="", agent=spec.agent, state="running", at=1.0
    )
    return MesosTask(
        target="cluster",
        task_id="t.1",
        mesos_id="t.1",
        agent_id=agent_id,
        executor_id="e",
        role="*",
        reserved_for="",
        spec=spec,
        told=told,
        launched_at=1.0,
        begun=True,
        standing=standing,
    )


@pytest.mark.parametrize("standing", ["reachable", "unreachable", "unknown"])
def test_what_an_agent_was_given_is_on_top_of_what_it_offers(standing: Standing) -> None:
    book, given = TaskBook(), task("S1", standing)
    book.put(given)
    assert book.used({"S1"}) == {given.spec.agent: {"": amounts_of(given.spec)}}


@pytest.mark.parametrize(
    ("agent_id", "standing"), [("S0", "reachable"), ("S0", "unknown"), ("S1", "nowhere"), ("S1", "gone")]
)
def test_what_runs_where_its_agent_does_not_know_it_is_in_what_that_offers(agent_id: str, standing: Standing) -> None:
    book = TaskBook()
    book.put(task(agent_id, standing))
    assert book.used({"S1"}) == {}


def test_what_is_offered_again_before_its_end_is_told_is_counted_once() -> None:
    book = TaskBook()
    book.put(task("S1", "reachable"))
    book.given_back.add("t.1")
    assert book.used({"S1"}) == {}
    book.remove("t.1")
    assert not book.given_back


def test_what_mesos_had_is_no_other_tasks_name() -> None:
    book = TaskBook()
    assert book.unused_id("t.1") == "t.1"
    for one in ("t.9", "t.10", "t.2"):
        book.spend(one)
    assert book.unused_id("t.1") == "t.11"
    book.put(task("S1", "reachable"))
    assert book.unused_id("t.1") == "t.2"
