"""following: what the store has below a prefix, and each change of it."""

from collections.abc import Callable
from contextlib import aclosing

from coldchain.model.errors import ColdchainError
from coldchain.ports.clock import Clock
from coldchain.ports.store import Changed, Compacted, Listing, Store

RETRY_SECONDS = 1.0


async def follow(
    store: Store,
    prefix: str,
    clock: Clock,
    *,
    whole: Callable[[Listing], None],
    change: Callable[[Changed], None],
    trouble: Callable[[ColdchainError], None],
) -> None:
    """For ever. First the whole, then each change; the whole again after changes were missed, or the store did not
    answer, or what it says could not be read, which is the `trouble`: over with the next whole."""
    while True:
        try:
            listing = await store.list(prefix)
            whole(listing)
            async with aclosing(store.watch(prefix, listing.revision)) as changes:  # type: ignore[type-var]
                async for one in changes:
                    change(one)
        except Compacted:
            continue
        except ColdchainError as error:
            trouble(error)
            await clock.sleep(RETRY_SECONDS)
