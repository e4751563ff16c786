"""waiting: for something to happen, for a while at most."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any

from coldchain.ports.clock import Clock
from coldchain.ports.store import Changed, Compacted, Store


async def until_set(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Until the event is set, or so many seconds are over."""
    await _first_of(event.wait(), clock.sleep(seconds))


async def until_written(store: Store, after: Mapping[str, int], clock: Clock, seconds: float) -> None:
    """Until something below one of the prefixes is written after the revision given for it, or so many seconds are
    over. Raises Unavailable."""
    await _first_of(*(_change(store.watch(one, revision)) for one, revision in after.items()), clock.sleep(seconds))


async def _change(changes: AsyncIterator[Changed]) -> None:
    try:
        async with aclosing(changes) as open_changes:  # type: ignore[type-var]
            async for _ in open_changes:
                return
    except Compacted:
        return  # then there were changes


async def _first_of(*awaited: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(one) for one in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
