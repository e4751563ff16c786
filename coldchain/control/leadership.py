"""leadership: the loop of one candidate: it follows who leads, claims the lead when nobody does, keeps it, and gives it
up in time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

import msgspec
import structlog

from coldchain.control.fence import Authority
from coldchain.decisions import leadership as decisions
from coldchain.decisions.leadership import Candidacy, Step, Timing
from coldchain.documents import keys, stored
from coldchain.model.errors import ColdchainError, Conflict
from coldchain.model.leader import Leader
from coldchain.ports.clock import Clock
from coldchain.ports.store import ABSENT, Change, Compacted, Guard, Lease, LeaseExpired, LostUpdate, Store

RETRY_SECONDS = 0.2

Lead = Callable[[Authority], Awaitable[None]]
"""All that a leader does, until it is cancelled; it may end by an error when it cannot take up the lead."""

log = structlog.get_logger(__name__)


class Leadership:
    """A candidate. `lead` is run while it leads, and is over before anybody else can lead."""

    def __init__(self, store: Store, clock: Clock, me: Leader, lead: Lead, timing: Timing | None = None) -> None:
        self._store = store
        self._clock = clock
        self._lead = lead
        self._timing = timing or Timing()
        self._lease: Lease | None = None
        self._leading: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._seen = Candidacy(name=me.name)
        self.me = me
        self.authority: Authority | None = None
        self.on_leader: Callable[[Leader | None], None] = lambda leader: None

    @property
    def leader(self) -> Leader | None:
        """Who leads, as far as is known; None: nobody, or nobody knows."""
        if self.authority is not None:
            return self.me if self.authority.holds else None
        return None if self._seen.own else self._seen.leader

    @property
    def leads(self) -> bool:
        """Whether this one does, at this moment."""
        return self.authority is not None and self.authority.holds

    def abdicate(self) -> None:
        """Give up the lead; others go first for a while. Raises Conflict for who does not lead."""
        if not self.leads:
            raise Conflict("This controller does not lead", todo="Ask the leader: GET /v2/leader names it.")
        self._note(msgspec.structs.replace(self._seen, why="it was asked to abdicate"))

    def deposed(self, authority: Authority) -> None:
        """The store refused a write of that lead. What was on its way when it ended may come back after that."""
        if self.authority is authority:
            self._note(msgspec.structs.replace(self._seen, why="the store refused its write"))

    def rest(self, seconds: float) -> None:
        """Let others go first for so long."""
        rests_until = self._clock.monotonic() + seconds
        self._note(msgspec.structs.replace(self._seen, rests_until=rests_until))

    def forsake(self) -> None:
        """Keep the lease alive no more and do not give it up: it ends by itself, as that of a process that is gone."""
        self._lease = None
        if self.authority is not None:
            self.authority.end("it is gone")

    async def run(self) -> None:
        """Until cancelled; then it gives up the lead in order."""
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                self._wake.clear()
                step = decisions.next_step(self._seen, self._clock.monotonic(), self._timing)
                try:
                    await self._carry_out(step)
                except ColdchainError as error:
                    log.warning("an election question failed", step=step.kind, error=str(error))
                    self._note(decisions.doubted(self._seen) if self._seen.token is None else self._seen)
                    await self._pause()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._step_down("this controller ends")

    def _note(self, seen: Candidacy) -> None:
        before, self._seen = self.leader, seen
        if self.leader != before:
            self.on_leader(self.leader)
        self._wake.set()

    async def _carry_out(self, step: Step) -> None:
        match step.kind:
            case "look":
                await self._look()
            case "open lease":
                await self._open_lease()
            case "claim":
                await self._claim()
            case "take":
                self._take()
            case "renew":
                await self._renew()
            case "step down":
                await self._step_down(step.why)
            case "wait":
                await self._wait(step.until)

    async def _wait(self, until: float | None) -> None:
        seconds = None if until is None else max(0.0, until - self._clock.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _pause(self) -> None:
        """Before another try; never past the moment at which a leader must stop."""
        until = self._clock.monotonic() + RETRY_SECONDS
        if self._seen.token is not None and self._seen.sure_until is not None:
            until = min(until, self._seen.sure_until)
        await self._clock.sleep(max(0.0, until - self._clock.monotonic()))

    async def _look(self) -> int:
        """Read the key; the revision of the store at which it is so."""
        listing = await self._store.list(keys.LEADER)
        entry = next((one for one in listing.entries if one.key == keys.LEADER), None)
        leader = stored.decode(entry.value, Leader) if entry is not None else None
        self._note(decisions.looked(self._seen, leader, entry.revision if entry else listing.revision))
        return listing.revision

    async def _open_lease(self) -> None:
        asked_at = self._clock.monotonic()
        self._lease = await self._store.lease(self._timing.lease_seconds)
        self._note(decisions.leased(self._seen, asked_at, self._lease.seconds, self._timing))

    async def _claim(self) -> None:
        assert self._lease is not None
        change = Change(key=keys.LEADER, value=stored.encode(self.me), expected=ABSENT, lease=self._lease.id)
        try:
            # Not in a store that somebody empties into another one at this moment, nor after everything was stopped.
            free = [Guard(key=key, revision=ABSENT) for key in (keys.STORE_MOVE, keys.CONTROLLERS_DOWN)]
            revision = await self._store.write([change], free)
        except LostUpdate:
            self._note(decisions.doubted(self._seen))
        except LeaseExpired:
            self._drop_lease()
        else:
            self._note(decisions.looked(self._seen, self.me, revision))

    def _take(self) -> None:
        """From here on it leads: nothing was awaited since the decision."""
        assert self._seen.sure_until is not None
        self._note(decisions.taken(self._seen))
        self.authority = Authority(self._clock, keys.LEADER, self._seen.revision, self._seen.sure_until)
        log.info("leading", token=self._seen.revision)
        self._leading = asyncio.create_task(self._led(self.authority))
        self.on_leader(self.me)

    async def _led(self, authority: Authority) -> None:
        """What ends a leader is that it shall not lead any more: whoever can, may."""
        why = "its work ended"
        try:
            await self._lead(authority)
        except* ColdchainError as group:
            why = str(group.exceptions[0])
            log.warning("the lead could not be kept", error=why)
        finally:
            authority.end(why)
            if self.authority is authority:
                self._note(msgspec.structs.replace(self._seen, why=self._seen.why or why))

    async def _renew(self) -> None:
        assert self._lease is not None
        assert self.authority is not None
        assert self._seen.sure_until is not None
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._seen.sure_until - asked_at):
                granted = await self._lease.keep_alive()
        except TimeoutError:
            return  # the decision sees that the time is over
        except LeaseExpired:
            await self._step_down("its lease has ended")
            return
        if not self.authority.holds:
            return  # the answer came too late, whatever it says
        seen = decisions.leased(self._seen, asked_at, granted, self._timing)
        assert seen.sure_until is not None
        self.authority.extend(seen.sure_until)
        self._note(seen)

    async def _step_down(self, why: str) -> None:
        """First nothing passes any more, then all that it does is ended, then the lead is free for others."""
        authority, leading = self.authority, self._leading
        if authority is not None:
            authority.end(why)
            log.warning("leading no more", why=why, token=authority.token)
        ended: Sequence[BaseException | None] = ()
        if leading is not None:
            leading.cancel()
            ended = await asyncio.gather(leading, return_exceptions=True)
        self.authority = self._leading = None
        lease, self._lease = self._lease, None
        self._note(decisions.stepped_down(self._seen, self._clock.monotonic(), self._timing))
        if authority is not None:
            self.on_leader(None)
        if lease is not None:
            with suppress(ColdchainError, TimeoutError):
                async with asyncio.timeout(self._timing.margin_seconds):
                    await lease.revoke()
        for error in ended:
            if isinstance(error, Exception):
                raise error  # a bug of ours, which nobody goes on with

    def _drop_lease(self) -> None:
        self._lease = None
        self._note(msgspec.structs.replace(self._seen, sure_until=None))

    async def _watch(self) -> None:
        """For ever: hear of each change of the key. Whoever hears nothing any more looks."""
        while True:
            try:
                revision = await self._look()
                async with aclosing(self._store.watch(keys.LEADER, revision)) as changes:  # type: ignore[type-var]
                    async for changed in changes:
                        leader = stored.decode(changed.value, Leader) if changed.value is not None else None
                        self._note(decisions.looked(self._seen, leader, changed.revision))
            except Compacted:
                continue
            except ColdchainError as error:
                log.warning("who leads is not heard of", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
