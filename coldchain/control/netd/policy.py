"""policy: the loop that keeps the packet filter of this machine as policy, networks and containers are."""

import asyncio
from contextlib import aclosing
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from coldchain.control.netd.attachments import Attachments
from coldchain.control.netd.following import follow
from coldchain.control.netd.waiting import until_set
from coldchain.control.network_view import NetworkView
from coldchain.decisions.policy import Seen, forbidden, ruleset, with_own
from coldchain.documents.keys import NETWORK
from coldchain.documents.stored import decode, encode
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError
from coldchain.model.policy import Policy, Verdict
from coldchain.model.ruleset import Ruleset
from coldchain.ports.clock import Clock
from coldchain.ports.network import Journal, PacketFilter
from coldchain.ports.store import Changed, Listing, Store

GATHER_SECONDS = 0.05
"""What comes within this time goes to the kernel as one change."""
AGAIN_SECONDS = 15.0
"""How often it is looked whether somebody has taken our table away, or Docker has made its own anew, though the kernel
has told nothing of it."""
LOOK_SECONDS = 0.5
"""So often at most what it tells is followed."""
RETRY_SECONDS = 1.0
KEEP_SECONDS = 10.0
"""Addresses change often, and the journal is on a disk: so often at most what the kernel has is written to it."""
KEPT = "policy/ruleset"
"""Its name in the journal."""

log = structlog.get_logger(__name__)


class PolicyStatus(Noun, frozen=True, kw_only=True):
    """`rules`: of the policy that the kernel has. `trouble` of the store, `filter_trouble` of nft, `journal_trouble`:
    what keeps the loop from its work; empty: nothing. The kernel goes on with what it has. `from_journal`: what that
    is was known before this machine or netd ended, and the store has said nothing yet."""

    applied: bool = False
    from_journal: bool = False
    rules: int = 0
    attachments: int = 0
    cut: int = 0
    trouble: str = ""
    filter_trouble: str = ""
    journal_trouble: str = ""


class Decided(NamedTuple):
    """Packets that a counter has counted; `verdict`: what became of them."""

    counter: str
    verdict: Verdict
    packets: int


class PolicyLoop:
    """`node`: the name of this one. `journal`: keeps what the kernel has, for a start while the store is away; without
    one such a start leaves the kernel as it is."""

    def __init__(
        self, store: Store, packet_filter: PacketFilter, node: str, clock: Clock, journal: Journal | None = None
    ) -> None:
        self._store = store
        self._filter = packet_filter
        self._node = node
        self._clock = clock
        self._view = NetworkView()
        self._listed = False
        self._changed = asyncio.Event()
        self._applied: Ruleset | None = None
        self._policy: Policy | None = None
        self._looked_at = float("-inf")
        self._touched = True
        self._journal = journal
        self._own: Attachments | None = None
        self._kept: Ruleset | None = None
        self._kept_at = float("-inf")
        self.status = PolicyStatus()

    def follow(self, own: Attachments) -> None:
        """What containers this machine has is known from its own disk: with a store that is away, and before others
        hear of it."""
        self._own = own
        own.follow(self._changed)

    async def start(self) -> None:
        """Before Docker starts containers: where the kernel has no rules, as after a reboot, it is given those it had.
        Where that fails `run` does it again: Docker shall start all the same."""
        if self._journal is None:
            return
        try:
            if written := (await self._journal.read()).get(KEPT):
                self._kept = decode(written, Ruleset, "kept")
        except ColdchainError as error:
            log.error("the rules that the kernel had are not known", error=str(error))
            self.status = replace(self.status, journal_trouble=str(error))
        try:
            await self._restore()
        except ColdchainError as error:
            log.error("the rules that the kernel had are not carried out", error=str(error))
            self.status = replace(self.status, filter_trouble=str(error))

    async def _restore(self) -> None:
        """Rules that are there are those of before or newer ones: they stay."""
        if self._listed or self._kept is None or await self._filter.drops():
            return
        await self._filter.apply(self._kept, None)
        self._applied = self._kept
        self.status = replace(self.status, applied=True, from_journal=True)
        log.warning("the kernel had no rules of the container network; it has those of before until the store is heard")

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                follow(
                    self._store, NETWORK, self._clock, whole=self._take_all, change=self._take, trouble=self._trouble
                )
            )
            tasks.create_task(self._keep())
            tasks.create_task(self._hear())

    # What the store says

    def _take_all(self, listing: Listing) -> None:
        self._view.take(listing)
        self._listed = True
        self.status = replace(self.status, trouble="")
        self._changed.set()

    def _take(self, change: Changed) -> None:
        if self._view.note(change.key, change.value):
            self._changed.set()

    def _trouble(self, error: ColdchainError) -> None:
        if str(error) != self.status.trouble:
            log.warning("policy is not followed", error=str(error))
        self.status = replace(self.status, trouble=str(error))

    # What the kernel does

    async def _keep(self) -> None:
        while True:
            try:
                await self._restore()
                await self.apply()
                seconds = await self._keep_for_a_start()
                await self._look()
                self.status = replace(self.status, filter_trouble="")
            except ColdchainError as error:
                if str(error) != self.status.filter_trouble:
                    log.error("policy is not carried out", error=str(error))
                self.status = replace(self.status, filter_trouble=str(error))
                seconds = RETRY_SECONDS
            await until_set(self._changed, self._clock, seconds)
            await self._clock.sleep(GATHER_SECONDS)

    async def _hear(self) -> None:
        """Of whoever else is at work in the packet filter."""
        while True:
            try:
                async with aclosing(self._filter.chain_changes()) as changes:  # type: ignore[type-var]
                    async for _ in changes:
                        self._touched = True
                        self._changed.set()
                        await self._clock.sleep(LOOK_SECONDS)
            except ColdchainError as error:
                log.warning("what others do to the packet filter is seen late", error=str(error))
                await self._clock.sleep(AGAIN_SECONDS)

    async def _look(self) -> None:
        """Whether our table is there, and Docker lets our links through."""
        if not self._touched and self._clock.monotonic() - self._looked_at < AGAIN_SECONDS:
            return
        self._touched = False
        try:
            await self._look_now()
        except ColdchainError:
            self._touched = True
            raise
        self._looked_at = self._clock.monotonic()

    async def _look_now(self) -> None:
        await self._filter.let_docker_forward()
        if self._applied is not None and not await self._filter.drops():
            log.warning("somebody has removed the rules of the container network; they are made again")
            self._applied = None
            self._changed.set()

    async def apply(self) -> None:
        """Carry out what is known. Before the store was heard once nothing is known, and the kernel keeps what it has
        from before."""
        self._changed.clear()
        if not self._listed:
            return
        seen = await self._seen()
        wanted = ruleset(seen)
        if wanted != self._applied:
            before, self._applied = self._applied, None  # until it is known that the kernel has it
            await self._filter.apply(wanted, before)
            self._applied = wanted
        self.status = replace(
            self.status,
            applied=True,
            from_journal=False,
            rules=len(seen.policy.rules),
            attachments=len(seen.attachments),
        )
        if self._policy is not None and seen.policy != self._policy and seen.policy.cut:
            await self._cut(seen)
        self._policy = seen.policy  # what was not cut is tried again

    async def _seen(self) -> Seen:
        """A journal that cannot be read leaves what the store has of this machine."""
        seen = self._view.seen(self._node)
        try:
            kept = await self._own.kept() if self._own is not None else None
        except ColdchainError:
            kept = None
        return seen if kept is None else with_own(seen, [one.attachment for one in kept.values()])

    async def _cut(self, seen: Seen) -> None:
        standing = forbidden(seen, await self._filter.connections())
        await self._filter.cut(standing)
        if standing:
            log.info("connections that are forbidden now are cut", number=len(standing))
        self.status = replace(self.status, cut=self.status.cut + len(standing))

    async def decided(self) -> list[Decided]:
        """By the name of the counter. Raises Unavailable."""
        known = self._applied
        if known is None:
            return []  # of whatever the kernel has, it is not known what it means
        counted = await self._filter.drops()
        rules = (*known.rules, *known.between, *known.to_machine)
        verdicts = {one.counter: one.verdict for one in rules}
        # What no rule has is of who sends with somebody else's address.
        return [Decided(name, verdicts.get(name, "deny"), counted[name]) for name in sorted(counted)]

    async def _keep_for_a_start(self) -> float:
        """Write what the kernel has to the journal. Returns when it is to be looked after again."""
        if self._journal is None or self._applied is None or self._applied == self._kept:
            return AGAIN_SECONDS
        due = self._kept_at + KEEP_SECONDS - self._clock.monotonic()
        if due > 0:
            return due
        self._kept_at = self._clock.monotonic()
        wanted = self._applied
        try:
            await self._journal.write({KEPT: encode(wanted)})
        except ColdchainError as error:
            log.error("the rules that the kernel has are not kept for the next start", error=str(error))
            self.status = replace(self.status, journal_trouble=str(error))
            return KEEP_SECONDS
        self._kept = wanted
        self.status = replace(self.status, journal_trouble="")
        return AGAIN_SECONDS
