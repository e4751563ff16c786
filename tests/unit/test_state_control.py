"""Records in memory and in the store: the same after any write, whatever became of its reply."""

import pytest

from coldchain.control.state import State
from coldchain.documents.keys import Record
from coldchain.model.backoff import Backoff
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Unavailable
from coldchain.model.gateway import KnownGateway
from coldchain.model.instance import Instance
from coldchain.model.task import TaskFailure
from coldchain.model.version import AppRecord, Version
from coldchain.ports.store import LostUpdate
from coldchain.store.memory import MemoryStore
from coldchain.testing.faulty_store import Fault, FaultyStore
from coldchain.testing.platform import example_app

VERSION = Version(app=example_app(), id="v", config_id="v")
INSTANCE = Instance(
    id="i", app_id="/shop", version_id="v", target="cluster", task_id="t", phase="serving", since=0.0, created_at=0.0
)
DEPLOYMENT = Deployment(
    id="d",
    app_id="/shop",
    target="cluster",
    kind="start",
    from_version=None,
    to_version="v",
    started_at=0.0,
    deadline_at=1.0,
    cause="test",
)
RECORDS: list[Record] = [
    VERSION,
    INSTANCE,
    DEPLOYMENT,
    AppRecord(app_id="/shop", version_id="v", target="cluster", cause="test"),
    Backoff(app_id="/shop", target="cluster", version_id="v"),
    TaskFailure(
        app_id="/shop",
        target="cluster",
        task_id="t",
        instance_id="i",
        version_id="v",
        agent="a",
        state="failed",
        at=0.0,
    ),
    KnownGateway(name="g", first_seen=0.0),
]


def picture(state: State) -> list[object]:
    return [
        state.apps,
        state.versions,
        state.deployments,
        state.running,
        state.instances,
        state.instances_of,
        state.failures,
        state.backoffs,
        state.gateways,
    ]


async def loaded(store: FaultyStore) -> State:
    state = State(store)
    await state.load()
    return state


async def test_what_is_written_is_what_another_reads_and_removing_leaves_nothing() -> None:
    store = FaultyStore(MemoryStore())
    state = await loaded(store)
    await state.commit(RECORDS)
    assert picture(await loaded(store)) == picture(state)
    assert state.running == {"/shop": DEPLOYMENT}
    await state.commit((), RECORDS)
    assert picture(await loaded(store)) == picture(state) == [{}] * 9


async def test_what_is_as_it_was_is_not_written() -> None:
    store = FaultyStore(MemoryStore())
    state = await loaded(store)
    await state.commit(RECORDS)
    await state.commit(RECORDS)
    assert store.writes == 1


@pytest.mark.parametrize(("fault", "found"), [("unavailable", None), ("lost reply", INSTANCE), ("lost update", None)])
async def test_a_doubtful_write_is_read_again_and_told_as_any_other(fault: Fault, found: Instance | None) -> None:
    store = FaultyStore(MemoryStore())
    state = await loaded(store)
    told: list[tuple[Record | None, Record | None]] = []
    state.on_commit(told.extend)
    store.fault = lambda number, changes: fault
    with pytest.raises((Unavailable, LostUpdate)):
        await state.commit([INSTANCE])
    assert state.instances == {}
    assert state.in_doubt
    store.fault = lambda number, changes: None
    await state.fresh()
    assert state.instances.get("i") == found
    assert told == ([(None, found)] if found else [])
    assert not state.in_doubt
    await state.commit([INSTANCE])


async def test_two_controllers_of_one_store_cannot_both_write() -> None:
    store = FaultyStore(MemoryStore())
    first, second = await loaded(store), await loaded(store)
    await first.commit([INSTANCE])
    with pytest.raises(LostUpdate):
        await second.commit([INSTANCE])
    await second.fresh()
    assert second.instances == {"i": INSTANCE}
