"""places: the loop that tells the store which attachments this machine has, and takes away what of them was left behind
by a crash of netd, of Docker or of the machine."""

import asyncio
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from coldchain.control.netd.attachments import Attachments
from coldchain.control.netd.waiting import until_set
from coldchain.decisions.attachment import (
    Doubts,
    Leftover,
    Publication,
    doubted,
    leftovers,
    publications,
    ripe,
    without_link,
)
from coldchain.documents.keys import network_key_of
from coldchain.documents.stored import decode, encode
from coldchain.model.attachment import Attachment
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError
from coldchain.ports.address_book import AddressBook
from coldchain.ports.clock import Clock
from coldchain.ports.docker_networks import DockerNetworks
from coldchain.ports.network import HOST_PREFIX, Links
from coldchain.ports.store import Change, Store

AGAIN_SECONDS = 30.0
"""How often all is compared again, though nothing is known to have changed."""
RETRY_SECONDS = 1.0
CHANGES_MAX = 64
"""In one write: many of them must not pass what the store takes."""

log = structlog.get_logger(__name__)


class PlacesStatus(Noun, frozen=True, kw_only=True):
    """`untold`: how many attachments the store does not know as they are. `without_link`: those whose container has
    lost its link. `doubtful`: things that nobody answers for. `trouble` of the store, `machine_trouble` of Docker and
    links: what keeps the loop from its work; empty: nothing."""

    attachments: int = 0
    untold: int = 0
    without_link: tuple[str, ...] = ()
    doubtful: int = 0
    trouble: str = ""
    machine_trouble: str = ""


class PlacesLoop:
    """`node`: the name of this one."""

    def __init__(
        self,
        store: Store,
        attachments: Attachments,
        book: AddressBook,
        docker: DockerNetworks,
        links: Links,
        node: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._attachments = attachments
        self._changed = asyncio.Event()
        attachments.follow(self._changed)
        self._book = book
        self._docker = docker
        self._links = links
        self._prefix = network_key_of(Attachment(id="", node=node, network="", address=""))
        self._clock = clock
        self._stored: dict[str, Attachment] | None = None
        self._listed_at = self._compared_at = float("-inf")
        self._doubts: Doubts = {}
        self.status = PlacesStatus()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._changed.clear()
            trouble = await self.tell()
            if self._clock.monotonic() - self._compared_at >= AGAIN_SECONDS:
                await self.compare()
            await until_set(self._changed, self._clock, RETRY_SECONDS if trouble else AGAIN_SECONDS)

    async def tell(self) -> str:
        """The store. Returns what kept it from that, if anything."""
        trouble, untold = "", 0
        try:
            kept = await self._attachments.kept()
            if self._stored is None or self._clock.monotonic() - self._listed_at >= AGAIN_SECONDS:
                self._stored = await self._list()
            todo = publications(kept, self._stored)
            untold = len(todo)
            for start in range(0, len(todo), CHANGES_MAX):
                part = todo[start : start + CHANGES_MAX]
                await self._store.write([self._change(one) for one in part])
                self._note(part)
                untold -= len(part)
        except ColdchainError as error:
            trouble = str(error)
            self._stored = None
            if trouble != self.status.trouble:
                log.warning("the store does not hear of attachments", error=trouble)
        else:
            self.status = replace(self.status, attachments=len(kept))
        self.status = replace(self.status, untold=untold, trouble=trouble)
        return trouble

    async def compare(self) -> None:
        """With Docker and the links there are. Whoever does not answer leaves all as it is."""
        try:
            networks = await self._docker.networks()
            hosts = {name: name.removeprefix(HOST_PREFIX) for name in await self._links.present()}
            known = await self._book.known()
            kept = await self._attachments.kept()
            endpoints = frozenset().union(*(one.endpoints for one in networks))
            now = self._clock.monotonic()
            self._doubts = doubted(self._doubts, leftovers(kept, endpoints, hosts, known), now)
            lost = without_link(kept, hosts)
            self.status = replace(self.status, without_link=lost, doubtful=len(self._doubts), machine_trouble="")
            for one in ripe(self._doubts, now):
                await self._take_away(one)
            self._compared_at = now
        except ColdchainError as error:
            if str(error) != self.status.machine_trouble:
                log.warning("attachments are not compared with the machine", error=str(error))
            self.status = replace(self.status, machine_trouble=str(error))

    async def _take_away(self, one: Leftover) -> None:
        log.warning("taken away, for nobody answers for it", kind=one.kind, name=one.name)
        match one.kind:
            case "attachment":
                await self._attachments.detach(one.name)
            case "link":
                await self._links.remove(one.name)
            case _:
                await self._attachments.give_back(one.name, one.owner)

    async def _list(self) -> dict[str, Attachment]:
        listing = await self._store.list(self._prefix)
        self._listed_at = self._clock.monotonic()
        found = (decode(entry.value, Attachment) for entry in listing.entries)
        return {one.id: one for one in found}

    def _change(self, one: Publication) -> Change:
        if one.attachment is None:
            return Change(key=self._prefix + one.id, value=None)
        return Change(key=network_key_of(one.attachment), value=encode(one.attachment))

    def _note(self, told: Sequence[Publication]) -> None:
        assert self._stored is not None
        for one in told:
            if one.attachment is None:
                self._stored.pop(one.id, None)
            else:
                self._stored[one.id] = one.attachment
