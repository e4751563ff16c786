"""store_move: brings everything in one store into another. It may be cut short at any moment and be done again."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from coldchain.decisions import store_move as decisions
from coldchain.documents import keys, stored
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, Conflict
from coldchain.model.store_move import StoreMove
from coldchain.ports.store import ABSENT, Change, Entry, Guard, Listing, Store

WRITE_KEYS_MAX = 100
WRITE_BYTES_MAX = 512 * 1024
"""What an etcd takes in one write, as it comes."""

Progress = Callable[[int, int], None]
"""Told how many keys of how many are in the target."""
Holders = Callable[[], Awaitable[Sequence[str]]]
"""Who uses the source at this moment, however the store knows it."""


class Moved(Noun, frozen=True, kw_only=True):
    """`already`: it had been done before."""

    keys: int
    already: bool


async def check_usable(store: Store) -> None:
    """Raises Conflict where the content of the store is somewhere else."""
    entry = await store.get(keys.STORE_MOVE)
    decisions.usable(stored.decode(entry.value, StoreMove) if entry else None)


async def move(
    source: Store, source_name: str, target: Store, target_name: str, *, holders: Holders, progress: Progress
) -> Moved:
    """Raises Conflict where it may not be, and whatever the stores raise; then the source is of use as before, or the
    same again goes on."""
    source_mark, entries = _marked(await source.list(""))
    target_mark, present = _marked(await target.list(""))
    names = [entry.key for entry in present]
    if decisions.step(source_name, _noun(source_mark), target_name, _noun(target_mark), names) == "done":
        return Moved(keys=len(present), already=True)
    arriving = await _mark(target, target_mark, StoreMove(direction="from", store=source_name))
    leaving = await _mark(source, source_mark, StoreMove(direction="to", store=target_name))
    try:
        # From here on nobody starts with the source; who is there already must be seen now.
        held = await holders()
        if held:
            raise Conflict(
                f"{source_name} is in use: {', '.join(held)}",
                todo="Stop all its controllers first; apps and gateways serve on.",
            )
        _, entries = _marked(await source.list(""))
        await _copy(entries, target, arriving, progress)
        await _compare(source, entries, target)
    except ColdchainError:
        with contextlib.suppress(ColdchainError):
            await source.write([Change(key=keys.STORE_MOVE, value=None, expected=leaving)])
        raise
    await target.write([Change(key=keys.STORE_MOVE, value=None, expected=arriving)])
    return Moved(keys=len(entries), already=False)


async def _mark(store: Store, present: Entry | None, mark: StoreMove) -> int:
    """Each time anew, so that who was cut short and still runs is shut out."""
    expected = present.revision if present else ABSENT
    return await store.write([Change(key=keys.STORE_MOVE, value=stored.encode(mark), expected=expected)])


async def _copy(entries: Sequence[Entry], target: Store, arriving: int, progress: Progress) -> None:
    guard = [Guard(key=keys.STORE_MOVE, revision=arriving)]
    present = {entry.key: entry.value for entry in _marked(await target.list(""))[1]}
    wanted = {entry.key: entry.value for entry in entries}
    surplus = [Change(key=key, value=None) for key in present if key not in wanted]
    missing = [Change(key=key, value=value) for key, value in wanted.items() if present.get(key) != value]
    done = len(wanted) - len(missing)
    progress(done, len(wanted))
    for changes in _portions([*surplus, *missing]):
        await target.write(changes, guard)
        done += sum(change.value is not None for change in changes)
        progress(done, len(wanted))


async def _compare(source: Store, entries: Sequence[Entry], target: Store) -> None:
    wanted = _content(entries)
    if _content(_marked(await source.list(""))[1]) != wanted:
        raise Conflict("the source was written while it was copied", todo="Stop all its controllers, and try again.")
    if _content(_marked(await target.list(""))[1]) != wanted:
        raise Conflict("the target was written by somebody else meanwhile", todo="Name one that nobody uses.")


def _portions(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    portion: list[Change] = []
    size_bytes = 0
    for change in changes:
        change_bytes = len(change.key.encode()) + len(change.value or b"")
        if portion and (len(portion) == WRITE_KEYS_MAX or size_bytes + change_bytes > WRITE_BYTES_MAX):
            yield portion
            portion, size_bytes = [], 0
        portion.append(change)
        size_bytes += change_bytes
    if portion:
        yield portion


def _marked(listing: Listing) -> tuple[Entry | None, list[Entry]]:
    """The mark, and everything else."""
    mark = next((entry for entry in listing.entries if entry.key == keys.STORE_MOVE), None)
    return mark, [entry for entry in listing.entries if entry.key != keys.STORE_MOVE]


def _noun(entry: Entry | None) -> StoreMove | None:
    return stored.decode(entry.value, StoreMove) if entry else None


def _content(entries: Sequence[Entry]) -> Mapping[str, bytes]:
    return {entry.key: entry.value for entry in entries}
