"""The contract of `ports.store.Store`, for every adapter."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from coldchain.model.errors import Unavailable
from coldchain.ports.store import ABSENT, Change, Changed, Compacted, Guard, LeaseExpired, LostUpdate, Store
from coldchain.store.etcd import EtcdStore
from coldchain.store.memory import MemoryStore
from coldchain.store.sqlite import SQLiteStore
from coldchain.testing.etcd import EtcdCluster, etcd_cluster


class MakeStore:
    """Makes empty stores of one kind. `forget`: what was written in one before is not known to watchers any more."""

    def __init__(self, kind: str, folder: Path, cluster: EtcdCluster | None) -> None:
        self.kind = kind
        self.number = 0
        self._folder = folder
        self._cluster = cluster

    def __call__(self) -> Store:
        self.number += 1
        if self.kind == "memory":
            return MemoryStore(kept_changes=KEPT_CHANGES)
        if self.kind == "sqlite":
            return SQLiteStore(self._folder / f"store-{self.number}.db", kept_changes=KEPT_CHANGES)
        return self.reopen()

    def reopen(self) -> Store:
        """What is in the store that was made last outlives it, except in memory."""
        if self.kind == "sqlite":
            return SQLiteStore(self._folder / f"store-{self.number}.db", kept_changes=KEPT_CHANGES)
        assert self._cluster is not None
        return EtcdStore(self._cluster.client(), f"{self._folder.name}-{self.number}")

    async def forget(self, store: Store) -> None:
        if self._cluster is not None:
            await self._cluster.compact()
        else:
            for number in range(2 * KEPT_CHANGES + 1):
                await store.write([put(f"other/{number}")])


KINDS = ["memory", "sqlite", "etcd"]
KEPT_CHANGES = 400
SHORT_SECONDS = 1.0
"""For a lease that is to end soon, and not before what is written under it on a busy machine."""
"""etcd gives a second at least; the others wait no longer than they must."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[EtcdCluster]:
    """One member for all tests here; each has keys of its own in it."""
    with etcd_cluster() as cluster:
        asyncio.run(cluster.ready())
        yield cluster


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    needed = request.getfixturevalue("cluster") if request.param == "etcd" else None
    return MakeStore(request.param, tmp_path, needed)


@pytest.fixture
async def store(make_store: MakeStore) -> AsyncIterator[Store]:
    store = make_store()
    yield store
    await store.close()


def put(key: str, value: bytes = b"v", expected: int | None = None) -> Change:
    return Change(key=key, value=value, expected=expected)


async def take(changes: AsyncIterator[Changed], count: int) -> list[Changed]:
    return [await anext(changes) for _ in range(count)]


async def test_what_was_written_is_read(store: Store) -> None:
    revision = await store.write([put("a/1", b"one"), put("a/2", b"")])
    entry = await store.get("a/1")
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == ("a/1", b"one", revision)
    empty = await store.get("a/2")
    assert empty is not None
    assert empty.value == b""
    assert await store.get("a") is None


async def test_a_listing_has_the_prefix_in_order_and_the_stores_revision(store: Store) -> None:
    await store.write([put("b/2"), put("b/1"), put("b/10")])
    revision = await store.write([put("c")])
    listing = await store.list("b/")
    assert [entry.key for entry in listing.entries] == ["b/1", "b/10", "b/2"]
    assert listing.revision == revision
    assert [entry.key for entry in (await store.list("")).entries] == ["b/1", "b/10", "b/2", "c"]
    assert (await store.list("b/1\U0010ffff")).entries == ()


async def test_keys_are_ordered_by_code_point_and_wildcards_mean_nothing(store: Store) -> None:
    keys = ["%", "_", "a\U0010ffff", "a\U0010ffffb", "a\x00b", "é", "\uffff"]
    await store.write([put(key) for key in keys])
    assert [entry.key for entry in (await store.list("")).entries] == sorted(keys)
    assert [entry.key for entry in (await store.list("a\U0010ffff")).entries] == ["a\U0010ffff", "a\U0010ffffb"]
    assert [entry.key for entry in (await store.list("%")).entries] == ["%"]


async def test_compare_and_swap(store: Store) -> None:
    first = await store.write([put("k", b"1", ABSENT)])
    with pytest.raises(LostUpdate, match=f"k: expected absent, but it is at revision {first}"):
        await store.write([put("k", b"2", ABSENT)])
    second = await store.write([put("k", b"2", first)])
    with pytest.raises(LostUpdate):
        await store.write([Change(key="k", value=None, expected=first)])
    await store.write([Change(key="k", value=None, expected=second)])
    assert await store.get("k") is None
    with pytest.raises(LostUpdate, match="but it is absent"):
        await store.write([put("k", b"3", second)])


async def test_a_write_is_all_or_nothing(store: Store) -> None:
    before = await store.write([put("a", b"old")])
    with pytest.raises(LostUpdate):
        await store.write([put("a", b"new"), put("b"), Change(key="a2", value=None), put("c", expected=7)])
    entry = await store.get("a")
    assert entry is not None
    assert entry.value == b"old"
    listing = await store.list("")
    assert ([entry.key for entry in listing.entries], listing.revision) == (["a"], before)


async def test_a_guard_holds_a_write_to_a_key_that_it_leaves_alone(store: Store) -> None:
    held = await store.write([put("held", b"mine")])
    await store.write([put("k", b"1")], [Guard(key="held", revision=held), Guard(key="nobody", revision=ABSENT)])
    entry = await store.get("held")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"mine", held)
    taken = await store.write([put("held", b"another's")])
    for guard in (
        Guard(key="held", revision=held),
        Guard(key="held", revision=ABSENT),
        Guard(key="k", revision=ABSENT),
    ):
        with pytest.raises(LostUpdate, match=f"{guard.key}: expected .*, but it is at revision"):
            await store.write([put("k", b"2")], [guard])
    with pytest.raises(LostUpdate, match="nobody: expected at revision 1, but it is absent"):
        await store.write([put("k", b"2")], [Guard(key="nobody", revision=1)])
    entry = await store.get("k")
    assert entry is not None
    assert entry.value == b"1"
    # A key that is written can be guarded as well, and a write of nothing only asks.
    await store.write([put("held", b"mine again")], [Guard(key="held", revision=taken)])
    with pytest.raises(LostUpdate):
        await store.write([], [Guard(key="held", revision=taken)])
    assert await store.write([], [Guard(key="nobody", revision=ABSENT)]) == (await store.list("")).revision


async def test_a_lease_that_is_not_kept_alive_takes_its_keys_with_it(store: Store) -> None:
    lease = await store.lease(SHORT_SECONDS)
    granted = time.monotonic()
    assert lease.seconds >= SHORT_SECONDS
    attached = [Change(key=key, value=b"v", lease=lease.id) for key in ("a", "b", "written again", "deleted", "moved")]
    await store.write([*attached, put("other")])
    longer = await store.lease(60)
    await store.write(
        [put("written again"), Change(key="deleted", value=None), Change(key="moved", value=b"v", lease=longer.id)]
    )
    start = await store.write([put("deleted")])
    async with asyncio.timeout(30):
        gone = await take(store.watch("", start), 2)
    assert time.monotonic() - granted > lease.seconds - 0.1
    assert sorted((change.key, change.value) for change in gone) == [("a", None), ("b", None)]
    assert gone[0].revision == gone[1].revision > start
    kept = ["deleted", "moved", "other", "written again"]
    assert [entry.key for entry in (await store.list("")).entries] == kept
    with pytest.raises(LeaseExpired, match=f"lease {lease.id} has ended"):
        await lease.keep_alive()
    with pytest.raises(LeaseExpired, match=f"lease {lease.id} has ended"):
        await store.write([put("c"), Change(key="d", value=b"v", lease=lease.id)])
    assert await store.get("c") is None
    await lease.revoke()
    await longer.revoke()
    assert [entry.key for entry in (await store.list("")).entries] == ["deleted", "other", "written again"]


async def test_a_lease_kept_alive_does_not_end(store: Store) -> None:
    lease = await store.lease(SHORT_SECONDS)
    revision = await store.write([Change(key="k", value=b"v", lease=lease.id)])
    begun = time.monotonic()
    while time.monotonic() < begun + 1.5 * lease.seconds:
        assert await lease.keep_alive() == lease.seconds
        await asyncio.sleep(lease.seconds / 5)
    entry = await store.get("k")
    assert entry is not None
    assert entry.revision == revision
    await lease.revoke()
    assert await store.get("k") is None
    with pytest.raises(LeaseExpired):
        await lease.keep_alive()


async def test_each_lease_has_an_id_and_keys_of_its_own(store: Store) -> None:
    first, second = await store.lease(60), await store.lease(60)
    assert first.id != second.id
    await store.write([Change(key="1", value=b"", lease=first.id), Change(key="2", value=b"", lease=second.id)])
    start = (await store.list("")).revision
    await first.revoke()
    assert await store.get("1") is None
    assert await store.get("2") is not None
    async with asyncio.timeout(10):
        assert (await anext(store.watch("", start))).key == "1"
    with pytest.raises(LostUpdate):
        await store.write([put("2")], [Guard(key="1", revision=start)])
    await second.keep_alive()
    await second.revoke()


async def test_a_write_that_names_a_key_twice_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"twice: a$"):
        await store.write([put("a"), put("b"), put("a")])
    assert (await store.list("")).entries == ()


async def test_revisions_grow_also_past_deletions(store: Store) -> None:
    revisions = [
        await store.write([put("a")]),
        await store.write([Change(key="a", value=None)]),
        await store.write([put("a", expected=ABSENT)]),
    ]
    assert all(later > earlier for earlier, later in pairwise(revisions))
    assert await store.write([]) >= revisions[-1]


async def test_many_writers_at_once_each_get_their_own_answer(store: Store) -> None:
    async def claim(number: int) -> bool:
        try:
            await store.write([put(f"mine/{number}"), put(f"contended/{number % 10}", str(number).encode(), ABSENT)])
        except LostUpdate:
            return False
        return True

    won = await asyncio.gather(*(claim(number) for number in range(200)))
    assert sum(won) == 10
    mine = {entry.key for entry in (await store.list("mine/")).entries}
    assert mine == {f"mine/{number}" for number in range(200) if won[number]}
    revisions = [entry.revision for entry in (await store.list("contended/")).entries]
    assert len(set(revisions)) == 10


async def test_a_read_after_a_write_sees_it_whoever_wrote(store: Store) -> None:
    seen = []

    async def write_and_read(number: int) -> None:
        revision = await store.write([put("k", str(number).encode())])
        entry = await store.get("k")
        assert entry is not None
        seen.append(entry.revision >= revision)

    await asyncio.gather(*(write_and_read(number) for number in range(50)))
    assert seen == [True] * 50


async def test_a_watch_tells_every_change_below_its_prefix_in_order(store: Store) -> None:
    start = await store.write([put("a/0")])
    async with asyncio.timeout(10):
        changes = store.watch("a/", start)
        waiting = asyncio.ensure_future(take(changes, 3))
        await store.write([put("b")])
        first = await store.write([put("a/2", b"x"), put("a/1", b"y")])
        await store.write([Change(key="a/absent", value=None)])
        second = await store.write([Change(key="a/2", value=None)])
        seen = await waiting
    assert sorted((change.key, change.value, change.revision) for change in seen[:2]) == [
        ("a/1", b"y", first),
        ("a/2", b"x", first),
    ]
    assert seen[2] == Changed(key="a/2", value=None, revision=second)


async def test_a_failed_write_is_not_told(store: Store) -> None:
    start = (await store.list("")).revision
    async with asyncio.timeout(10):
        changes = store.watch("", start)
        with pytest.raises(LostUpdate):
            await store.write([put("a"), put("b", expected=5)])
        await store.write([put("c")])
        assert (await anext(changes)).key == "c"


async def test_a_watch_from_a_listing_or_an_entry_misses_nothing(store: Store) -> None:
    """The listing is taken while writes go on: listed and watched together give each key exactly once."""
    async with asyncio.timeout(20):
        await store.write([put("k/000")])  # alone: of writes at once nobody knows which is the first
        writes = [asyncio.ensure_future(store.write([put(f"k/{number:03}")])) for number in range(1, 100)]
        entry = await store.get("k/000")
        assert entry is not None
        assert len(await take(store.watch("k/", entry.revision), 99)) == 99
        listing = await store.list("k/")
        listed = [entry.key for entry in listing.entries]
        watched = await take(store.watch("k/", listing.revision), 100 - len(listed))
        await asyncio.gather(*writes)
    assert sorted(listed + [change.key for change in watched]) == [f"k/{number:03}" for number in range(100)]


async def test_old_changes_are_compacted(make_store: MakeStore, store: Store) -> None:
    start = await store.write([put("k/0")])
    for number in range(10):
        await store.write([put(f"k/{number}")])
    async with asyncio.timeout(10):
        await make_store.forget(store)
        with pytest.raises(Compacted, match=f"the changes after revision {start} are not known here"):
            await anext(store.watch("k/", start))
        recent = (await store.list("")).revision
        await store.write([put("k/new")])
        assert (await anext(store.watch("k/", recent))).key == "k/new"


async def test_a_watch_from_the_future_is_refused(store: Store) -> None:
    """Whoever knows a revision that was never given saw another store: he must list again."""
    revision = await store.write([put("k")])
    with pytest.raises(Compacted):
        await anext(store.watch("", revision + 1))


async def test_closing_ends_watches_and_refuses_the_rest(make_store: MakeStore) -> None:
    store = make_store()
    written = await store.write([put("k")])
    waiting = asyncio.ensure_future(take(store.watch("", written), 1))
    unfinished = asyncio.ensure_future(store.write([put("last")]))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert await unfinished > written
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(store.get("k"), 10)
    with pytest.raises(Unavailable, match="closed"):
        await store.write([put("k")])
    changes = await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), 10)
    assert isinstance(changes[0], Unavailable) or changes[0][0].key == "last"


async def test_a_cancelled_writer_disturbs_nobody(store: Store) -> None:
    cancelled = asyncio.ensure_future(store.write([put("cancelled")]))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    await store.write([put("other")])
    assert await store.get("other") is not None


KEYS = st.sampled_from(["a", "a/b", "a/b/c", "a0", "b", "\U0010ffff", "é"])
CHANGES = st.lists(
    st.tuples(KEYS, st.none() | st.binary(max_size=4), st.sampled_from(["any", "right", "wrong"])),
    max_size=4,
    unique_by=lambda change: change[0],
)


def test_any_sequence_of_writes_behaves_like_a_dictionary(make_store: MakeStore) -> None:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.loop = asyncio.new_event_loop()
            self.store = make_store()
            self.model: dict[str, tuple[bytes, int]] = {}
            self.revision = self.loop.run_until_complete(self.store.list("")).revision
            self.told: list[Changed] = []
            self.watched_from = self.revision

        @rule(changes=CHANGES)
        def write(self, changes: list[tuple[str, bytes | None, str]]) -> None:
            asked, wins = [], True
            for key, value, mode in changes:
                actual = self.model[key][1] if key in self.model else ABSENT
                wins = wins and mode != "wrong"
                asked.append(
                    Change(key=key, value=value, expected={"any": None, "right": actual, "wrong": actual + 1}[mode])
                )
            if not wins:
                with pytest.raises(LostUpdate):
                    self.loop.run_until_complete(self.store.write(asked))
                return
            revision = self.loop.run_until_complete(self.store.write(asked))
            changed = any(change.value is not None or change.key in self.model for change in asked)
            assert revision > self.revision if changed else revision >= self.revision
            self.revision = revision
            for change in asked:
                if change.value is None:
                    if self.model.pop(change.key, None) is None:
                        continue
                else:
                    self.model[change.key] = (change.value, revision)
                self.told.append(Changed(key=change.key, value=change.value, revision=revision))

        @rule(prefix=st.sampled_from(["", "a", "a/", "a/b", "é", "z"]))
        def look(self, prefix: str) -> None:
            listing = self.loop.run_until_complete(self.store.list(prefix))
            assert listing.revision == self.revision
            assert [(entry.key, (entry.value, entry.revision)) for entry in listing.entries] == sorted(
                (key, stored) for key, stored in self.model.items() if key.startswith(prefix)
            )

        @rule(after=st.integers(0, 20), prefix=st.sampled_from(["", "a", "a/b"]))
        def watch(self, after: int, prefix: str) -> None:
            after = self.watched_from + after
            wanted = [change for change in self.told if change.revision > after and change.key.startswith(prefix)]
            if after <= self.revision and wanted:
                told = self.loop.run_until_complete(take(self.store.watch(prefix, after), len(wanted)))
                assert told == wanted

        @rule()
        def reopen(self) -> None:
            if make_store.kind == "memory":
                return
            self.loop.run_until_complete(self.store.close())
            self.store = make_store.reopen()
            if make_store.kind == "sqlite":
                self.told, self.watched_from = [], self.revision

        @invariant()
        def every_key_is_as_in_the_model(self) -> None:
            for key in ("a", "a/b", "é"):
                entry = self.loop.run_until_complete(self.store.get(key))
                assert (entry and (entry.value, entry.revision)) == self.model.get(key)

        def teardown(self) -> None:
            self.loop.run_until_complete(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=25, stateful_step_count=20, suppress_health_check=list(HealthCheck)),
    )
