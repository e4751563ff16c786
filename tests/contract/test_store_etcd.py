"""What only a cluster can do: lose members, hang, forget, be full, ask who somebody is, encrypt."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coldchain.main.machine import look
from coldchain.main.settings import PlatformSettings
from coldchain.model.errors import Rejected, Unavailable
from coldchain.ports.store import ABSENT, Change, Changed, Compacted, Guard, LostUpdate, Store
from coldchain.store.etcd import EtcdStore
from coldchain.testing.etcd import LIMITS, EtcdCluster, closing, etcd_cluster, require_users

SILENCE_SECONDS = 1.0
"""Shorter than in earnest, so that a hung member is left sooner."""


@pytest.fixture(scope="module")
def shared() -> Iterator[EtcdCluster]:
    """One member that nothing happens to, with the limits that etcd comes with."""
    with etcd_cluster(options=[]) as etcd:
        asyncio.run(etcd.ready())
        yield etcd


@pytest.fixture(scope="module")
def three() -> Iterator[EtcdCluster]:
    """Three members that all run again after each test."""
    with etcd_cluster(3) as etcd:
        yield etcd


@pytest.fixture
async def etcd(three: EtcdCluster) -> AsyncIterator[EtcdCluster]:
    await three.ready()
    yield three
    for member in three.members:
        if member.running:
            member.thaw()
        else:
            member.start()
    await three.leader()


@asynccontextmanager
async def opened(etcd: EtcdCluster, prefix: str, **options: float) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(etcd.client(**options), prefix, silence_seconds=SILENCE_SECONDS)
    try:
        yield store
    finally:
        await store.close()


def put(key: str, value: bytes = b"v", expected: int | None = None) -> Change:
    return Change(key=key, value=value, expected=expected)


async def written(store: Store, change: Change) -> int:
    """As a caller who tries again; a write that may have happened is put all the same."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.write([change])
            except Unavailable:
                await asyncio.sleep(0.05)


async def numbers(changes: AsyncIterator[Changed], last: int) -> list[int]:
    """What a watch tells until `last` has come."""
    told = []
    async for change in changes:
        assert change.value is not None
        told.append(int(change.value))
        if told[-1] == last:
            return told
    raise AssertionError


async def test_platforms_share_a_cluster_and_do_not_see_each_other(shared: EtcdCluster) -> None:
    async with opened(shared, "shop") as shop, opened(shared, "shop2") as other:
        start = await shop.write([put("k", b"shop's")])
        await other.write([put("k", b"other's", ABSENT)])
        await shop.write([put("later")])
        assert [entry.value for entry in (await other.list("")).entries] == [b"other's"]
        assert [entry.key for entry in (await shop.list("")).entries] == ["k", "later"]
        async with asyncio.timeout(10):
            assert (await anext(shop.watch("", start))).key == "later"


async def test_a_listing_of_many_pages_is_as_of_one_revision(shared: EtcdCluster) -> None:
    """While it is read, every key is written again and again, all in one write."""
    async with opened(shared, "pages") as store:
        keys = [f"k/{number:03}" for number in range(100)]
        many = [f"k/{number:04}/{part}" for number in range(10) for part in range(120)]
        for begin in range(0, len(many), 100):
            await store.write([put(key) for key in many[begin : begin + 100]])
        await store.write([put(key, b"0") for key in keys])

        async def rewrite() -> None:
            for number in range(1, 30):
                await store.write([put(key, str(number).encode()) for key in keys])

        rewriting = asyncio.ensure_future(rewrite())
        while not rewriting.done():
            listing = await store.list("k/")
            assert len(listing.entries) == len(keys) + len(many)
            assert len({entry.value for entry in listing.entries if entry.key in set(keys)}) == 1
        await rewriting


async def test_a_listing_larger_than_any_page_may_be(shared: EtcdCluster) -> None:
    async with opened(shared, "large") as store:
        for number in range(20):
            await store.write([put(f"k/{number}", bytes(1_000_000))])
        assert sum(len(entry.value) for entry in (await store.list("k/")).entries) == 20_000_000
        async with asyncio.timeout(30):
            changes = store.watch("k/", (await store.list("k/")).revision - 20)
            assert [len((await anext(changes)).value or b"") for _ in range(20)] == [1_000_000] * 20


async def test_a_write_that_is_too_large_says_what_to_do(shared: EtcdCluster) -> None:
    async with opened(shared, "limits") as store:
        await store.write([put(f"k/{number}") for number in range(128)])
        with pytest.raises(Rejected, match=r"not take 129 changes in one write; nothing .*--max-txn-ops=") as caught:
            await store.write([put(f"l/{number}") for number in range(129)])
        with pytest.raises(Rejected, match=r"not take 129 changes"):
            await store.write([put("l")], [Guard(key=f"l/{number}", revision=ABSENT) for number in range(129)])
        for octets in (1_600_000, 5_000_000):
            with pytest.raises(Rejected, match=rf"not take {octets + 1} bytes in .*--max-request-bytes=") as caught:
                await store.write([put("l", bytes(octets))])
        assert caught.value.retry_seconds is None
        assert (await store.list("l")).entries == ()


async def test_limits_that_are_too_small_are_seen_at_once(shared: EtcdCluster) -> None:
    async with opened(shared, "limits") as store:
        with pytest.raises(Rejected, match="not take 9000000 bytes in one write"):
            await store.check_limits()
    with etcd_cluster(options=["--max-request-bytes=67108864"]) as etcd:
        await etcd.ready()
        async with opened(etcd, "limits") as store:
            with pytest.raises(Rejected, match="not take 10000 changes in one write"):
                await store.check_limits()


async def test_advised_limits_take_large_writes() -> None:
    with etcd_cluster() as etcd:
        await etcd.ready()
        async with opened(etcd, "limits", timeout_seconds=30) as store:
            await store.check_limits()
            changes = [put(f"k/{number:05}", bytes(1_000), ABSENT) for number in range(10_000)]
            revision = await store.write(changes)
            listing = await store.list("k/")
            assert {entry.revision for entry in listing.entries} == {revision}
            assert len(listing.entries) == 10_000
            with pytest.raises(LostUpdate, match="k/00000: expected absent"):
                await store.write(changes)


async def test_a_compaction_while_watching_is_told_or_missed_nothing(shared: EtcdCluster) -> None:
    async with opened(shared, "compaction") as store:
        start = await store.write([put("k", b"0")])
        changes = store.watch("k", start)
        await store.write([put("k", b"1")])
        async with asyncio.timeout(10):
            assert (await anext(changes)).value == b"1"
            await shared.compact()
            await store.write([put("k", b"2")])
            assert (await anext(changes)).value == b"2"
            for number in range(5):
                await store.write([put("other", str(number).encode())])
            await shared.compact()
            with pytest.raises(Compacted):
                await anext(store.watch("k", start))


async def test_any_one_member_is_killed_and_nothing_is_lost(etcd: EtcdCluster) -> None:
    """The leader among them, while writes and a watch go on."""
    async with opened(etcd, "killed") as store:
        start = await store.write([put("k", b"0")])
        watching = asyncio.ensure_future(numbers(store.watch("k", start), 60))
        number = 0
        for victim in [*etcd.members, await etcd.leader()]:
            for step in range(15):
                number += 1
                await written(store, put("k", str(number).encode()))
                if step == 7:
                    victim.kill()
            victim.start()
            await etcd.ready()
        async with asyncio.timeout(20):
            told = await watching
        # A write that was tried again may be told twice: that is what happened to the key.
        assert list(dict.fromkeys(told)) == list(range(1, 61))
        assert told == sorted(told)


async def test_a_member_that_hangs_is_left(etcd: EtcdCluster) -> None:
    """Its connections stay open, and nothing more comes out of them."""
    async with opened(etcd, "hung") as store:
        revision = await store.write([put("k", b"0")])
        lease = await store.lease(6)
        watching = asyncio.ensure_future(numbers(store.watch("k", revision), 3))
        await asyncio.sleep(0)
        await store.write([put("k", b"1")])
        etcd.members[0].freeze()  # the first is the one they are all connected to
        begun = time.monotonic()
        assert await lease.keep_alive() == 6
        await written(store, put("k", b"2"))
        await written(store, put("k", b"3"))
        assert (await store.list("k")).entries[0].value == b"3"
        async with asyncio.timeout(10):
            assert await watching == [1, 2, 3]
        assert time.monotonic() - begun < 8
        await lease.revoke()


async def test_a_write_of_which_nobody_knows_is_said_to_be_so(etcd: EtcdCluster) -> None:
    async with opened(etcd, "unknown", timeout_seconds=1) as store:
        await store.write([put("k", b"0")])
        etcd.members[0].freeze()
        with pytest.raises(Unavailable, match=r"whether this was written is not known\. Look at its members") as caught:
            await store.write([put("k", b"1")])
        assert etcd.members[0].url in str(caught.value)
        assert caught.value.retry_seconds


async def test_without_most_of_its_members_a_cluster_answers_nothing(etcd: EtcdCluster) -> None:
    async with opened(etcd, "minority", timeout_seconds=1.5) as store:
        revision = await store.write([put("k")])
        watching = asyncio.ensure_future(anext(store.watch("k", revision)))
        for member in etcd.members[1:]:
            member.kill()
        for question in (store.get("k"), store.list(""), store.write([put("k")]), store.lease(5)):
            with pytest.raises(Unavailable, match="etcd does not answer") as caught:
                await question
        for member in etcd.members[1:]:
            assert f"{member.url}: " in str(caught.value)
        with pytest.raises(Unavailable, match="etcd does not answer"):
            await asyncio.wait_for(watching, 20)


async def test_the_doctor_asks_each_member(etcd: EtcdCluster, tmp_path: Path) -> None:
    lost = etcd.members[1]
    lost.kill()
    address = "etcd://" + ",".join(one.url.removeprefix("http://") for one in etcd.members)
    members = (await look(PlatformSettings(data=tmp_path, store=address))).members
    assert [one.endpoint for one in members] == address.removeprefix("etcd://").split(",")
    assert [bool(one.error) for one in members] == [False, True, False]
    assert lost.url in members[1].error
    assert not members[1].refused


async def test_everything_is_there_after_all_members_were_killed(etcd: EtcdCluster) -> None:
    async with opened(etcd, "restart") as store:
        lease = await store.lease(30)
        revision = await store.write([put("k"), Change(key="leader", value=b"me", lease=lease.id)])
        watching = asyncio.ensure_future(anext(store.watch("k", revision)))
        await asyncio.sleep(0)
        for member in etcd.members:
            member.kill()
        for member in etcd.members:
            member.start()
        later = await written(store, put("k", b"again"))
        assert later > revision
        async with asyncio.timeout(10):
            assert (await watching).revision == later
        assert await lease.keep_alive() == 30
        await lease.revoke()
        assert await store.get("leader") is None


async def test_a_user_who_may_and_one_who_may_not() -> None:
    with etcd_cluster(options=[*LIMITS, "--auth-token-ttl=1"]) as etcd:
        await etcd.ready()
        await require_users(etcd, "shop", "secret", "/shop/")
        known = {"user": "shop", "password": "secret"}
        store = EtcdStore(etcd.client(**known), "shop", silence_seconds=SILENCE_SECONDS)
        revision = await store.write([put("k", b"0")])
        lease = await store.lease(30)
        await store.write([Change(key="leased", value=b"", lease=lease.id)])
        watching = asyncio.ensure_future(numbers(store.watch("k", revision), 2))
        await store.write([put("k", b"1")])
        assert await store.write([]) == await store.write([], [Guard(key="absent", revision=ABSENT)])
        await store.check_limits()
        with pytest.raises(Compacted):
            await anext(store.watch("k", 1_000_000))
        etcd.members[0].kill()  # with its tokens
        etcd.members[0].start()
        await written(store, put("k", b"2"))
        async with asyncio.timeout(10):
            assert await watching == [1, 2]
        assert await lease.keep_alive() == 30
        await lease.revoke()

        strangers = [
            EtcdStore(etcd.client(), "shop"),
            EtcdStore(etcd.client(user="shop", password="wrong"), "shop"),
            EtcdStore(etcd.client(**known), "other"),
        ]
        for stranger in strangers:
            for question in (stranger.get("k"), stranger.write([put("k")]), anext(stranger.watch("", revision))):
                with pytest.raises(Rejected, match=r"etcd refused: .*Does its user exist"):
                    await question
            await stranger.close()
        await store.close()


async def test_members_that_speak_tls_and_want_a_certificate() -> None:
    with etcd_cluster(tls=True) as etcd:
        await etcd.ready()
        async with opened(etcd, "encrypted") as store:
            revision = await store.write([put("k", b"1")])
            async with asyncio.timeout(10):
                assert (await anext(store.watch("k", revision - 1))).value == b"1"
        plain = EtcdStore(etcd.client(tls=None, timeout_seconds=1), "encrypted")
        with pytest.raises(Unavailable, match="certificate"):
            await plain.get("k")
        await plain.close()


async def test_what_is_not_etcd_is_said_to_be_so(shared: EtcdCluster) -> None:
    async with closing(shared.client(timeout_seconds=1)) as client:
        with pytest.raises(Exception, match=r"no answer of etcd's JSON gateway .status 404: 404 page not found"):
            await client.call("/v4/nothing", {}, repeatable=True)
