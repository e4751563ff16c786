"""down: stops everything in order: apps drained and stopped, then the gateway. The definitions stay."""

import asyncio
import contextlib
import sys

from coldchain.main.platform import Platform, open_platform
from coldchain.main.settings import PlatformSettings


async def down(settings: PlatformSettings) -> int:
    """For a platform whose `up` does not run: be its controller for as long as stopping takes.

    Raises ColdchainError when the store is in use (an `up` runs after all) or Docker does not answer.
    """
    if settings.store is None and not settings.store_file.exists():
        print(f"coldchain: nothing to stop: there is no platform in {settings.data}", file=sys.stderr)  # noqa: T201
        return 0
    async with open_platform(settings) as platform:
        serving = asyncio.create_task(platform.serve(keep_gateway=False))
        stopping = asyncio.create_task(platform.controller.stop_everything())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            stopping.cancel()
            await serving
        await take_down(platform, serving)
    return 0


async def take_down(platform: Platform, serving: asyncio.Task[None]) -> None:
    """The end of going down, once no instance runs: the loops first, so that nobody starts the gateway again."""
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    if platform.mesos is not None:
        await platform.mesos.tear_down()
    if platform.gateway is not None:
        await platform.gateway.process.stop()
