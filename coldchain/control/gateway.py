"""gateway: the loop of the gateway process: takes rotations from the feed, applies them, reports under a lease."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from coldchain.decisions.share import share_of
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.rotation import GatewayReport
from coldchain.ports.clock import Clock
from coldchain.ports.gateway import Gateway, OutOfStep
from coldchain.ports.rotation_feed import RotationFeed

IDLE_WAIT_SECONDS = 1.0
"""How long one exchange waits for news: also how often the lease is renewed, several times within its length."""
DRAINING_WAIT_SECONDS = 0.05
"""While requests are open on endpoints that leave: how soon the controller hears that they are done."""
TRAFFIC_SECONDS = 1.0
"""Between two reports that tell what was counted; those in between ask only for what a drain waits for."""
OUT_OF_STEP_SECONDS = 0.01
RETRY_SECONDS = 0.2

log = structlog.get_logger(__name__)


async def feed_gateway(
    plane: Gateway, feed: RotationFeed, clock: Clock, revive: Callable[[], Awaitable[None]] | None = None
) -> None:
    """For ever. `revive` is called when the data plane does not answer, to start it again."""
    trouble = ""
    lease, told = _Lease(), _Told()
    while True:
        try:
            report = await plane.report()
            await _exchange(plane, feed, clock, report, lease, told)
            if trouble:
                log.info("gateway answers again")
            trouble = ""
        except OutOfStep:
            # Its state is gone or newer: the next report says which, and the feed answers with the whole.
            await clock.sleep(OUT_OF_STEP_SECONDS)
        except ColdchainError as error:
            told.forget()
            if str(error) != trouble:
                trouble = str(error)
                log.warning("gateway not in step", error=trouble)
            if isinstance(error, Unavailable) and revive is not None:
                await _revive(revive)
            await clock.sleep(RETRY_SECONDS)


class _Lease:
    """Until when the gateway is ready, on the monotonic clock."""

    until = 0.0


class _Told:
    """Up to which mark of the gateway's counts the controller knows them, and when it is told again; and by which
    `shares` of the limits the gateway was told to work.

    Counts are told until an exchange with them succeeded, since its reply may be lost as well as the report. A
    controller that may be another one than before (it did not answer for a while, or sends the whole rotation) is told
    all of them.
    """

    mark = 0
    due_at = 0.0

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}

    def forget(self) -> None:
        self.mark, self.due_at = 0, 0.0


async def _exchange(
    plane: Gateway, feed: RotationFeed, clock: Clock, report: GatewayReport, lease: _Lease, told: _Told
) -> None:
    mark, due_at = told.mark, told.due_at
    if clock.monotonic() >= due_at:
        news = await plane.traffic(mark)
        report = msgspec.structs.replace(report, traffic=news.instances, limits=dict(await plane.limits()))
        mark, due_at = news.mark, clock.monotonic() + TRAFFIC_SECONDS
    began = clock.monotonic()
    draining = any(report.in_flight.values())
    update = await feed.exchange(report, DRAINING_WAIT_SECONDS if draining else IDLE_WAIT_SECONDS)
    told.mark, told.due_at = mark, due_at
    await _share(plane, feed.shares(report.gateway), report, told)
    if update is not None and update.base == 0:
        told.forget()
    lapsed = clock.monotonic() >= lease.until
    if update is not None and lapsed:
        # It may have been given up: it must not be ready again while it works by what it knew before.
        await plane.apply(update)
    await plane.renew(max(0.0, feed.lease_seconds - (clock.monotonic() - began)))
    lease.until = began + feed.lease_seconds
    if update is not None and not lapsed:
        await plane.apply(update)


async def _share(plane: Gateway, shares: Mapping[str, float], report: GatewayReport, told: _Told) -> None:
    """Has the gateway work by these shares, where it does not already: it may have been started afresh."""
    others = any(use.share != share_of(shares, name) for name, use in (report.limits or {}).items())
    if others or shares != told.shares:
        await plane.share(shares)
        told.shares = dict(shares)


async def _revive(revive: Callable[[], Awaitable[None]]) -> None:
    try:
        await revive()
    except ColdchainError as error:
        log.warning("gateway cannot be started again", error=str(error))
