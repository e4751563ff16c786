"""routes: the loop that keeps the routing daemon of this machine as nodes, blocks, pools and settings want it.

Level-triggered: whatever changed, the whole is decided anew. A store that does not answer leaves the daemon as it is,
and so does one that has no node at all any more, and nobody removed this one: a store that has lost everything must not
take the routes with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from msgspec.structs import replace

from coldchain.control.netd.following import follow
from coldchain.control.netd.lost_nodes import LostNodes
from coldchain.control.nodes import Nodes, Removed
from coldchain.decisions.routing import password_problem, route_plan
from coldchain.documents import keys, stored
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.node import Node, Routing
from coldchain.model.pool import Block, Pool
from coldchain.model.route_plan import RouteFinding, RoutePlan
from coldchain.model.secret import Secret
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock
from coldchain.ports.network import Reach, RoutingDaemon
from coldchain.ports.store import Changed, Listing, Store
from coldchain.ports.tunnel import Tunnels

READ: Mapping[str, type[Noun]] = {keys.NODE: Node, keys.BLOCK: Block, keys.POOL: Pool, keys.ROUTING: Routing}
"""What plans are made from, by the beginnings of its keys."""
AGAIN_SECONDS = 10.0
"""How often sessions are looked at, and passwords, though nothing is known to have changed."""
RETRY_SECONDS = 1.0

Render = Callable[[RoutePlan, Mapping[str, str]], str]
"""A plan, with the passwords by the names of their secrets, as text for the daemon."""

log = structlog.get_logger(__name__)


class RouteStatus(Noun, frozen=True, kw_only=True):
    """`joined`: the store knows of this node. `removed`: it did, and somebody removed the node. `sessions`: how each
    stands by its name. `trouble` with the store, `machine_trouble` with the daemon or the kernel; empty: none."""

    joined: bool = False
    removed: bool = False
    sessions: dict[str, str] = {}
    findings: tuple[RouteFinding, ...] = ()
    trouble: str = ""
    machine_trouble: str = ""


class RouteLoop:
    """`me`: this node as its machine knows it. `cipher` opens the passwords of sessions; without it those that need one
    are left out. `joining` returns once the store has the record of this node; None: the loop sees to that itself.
    `reach` asks those of whom nothing is heard whether they are lost; without it their routes stay for the seconds of a
    restart."""

    def __init__(
        self,
        store: Store,
        daemon: RoutingDaemon,
        tunnels: Tunnels,
        me: Node,
        render: Render,
        clock: Clock,
        cipher: Cipher | None = None,
        reach: Reach | None = None,
        joining: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._joining = joining or (lambda: Nodes(store).join(me))
        self._store = store
        self._daemon = daemon
        self._tunnels = tunnels
        self._me = me
        self._render = render
        self._clock = clock
        self._cipher = cipher
        self._plan_applied: RoutePlan | None = None
        self._lost = LostNodes(daemon, reach, lambda: self._plan_applied, clock) if reach is not None else None
        self._known: dict[str, Noun] | None = None
        self._passwords: dict[str, str] = {}
        self._text: str | None = None
        self._told_of_removal = False
        self._changed = asyncio.Event()
        self.status = RouteStatus()
        self.removed = asyncio.Event()
        """Set while somebody has removed this node, once its routes are gone."""

    async def run(self) -> None:
        """For ever. A machine that comes back while the store is away begins with the routes it had."""
        try:
            await self._daemon.resume()
        except ColdchainError as error:
            log.warning("the routing daemon is not started by what it had", error=str(error))
        await self._join()
        async with asyncio.TaskGroup() as group:
            group.create_task(
                follow(
                    self._store,
                    keys.NETWORK,
                    self._clock,
                    whole=self._take_all,
                    change=self._take,
                    trouble=self._trouble,
                )
            )
            group.create_task(self._keep())
            if self._lost is not None:
                group.create_task(self._lost.run())

    async def _join(self) -> None:
        """Once: who is removed does not come back by itself."""
        while True:
            try:
                await self._joining()
            except Removed as error:
                self._trouble(error)
                await self._leave_at_the_start()
                await self._clock.sleep(RETRY_SECONDS)
                continue
            except ColdchainError as error:
                self._trouble(error)
                await self._clock.sleep(RETRY_SECONDS if isinstance(error, Unavailable) else AGAIN_SECONDS)
                continue
            self.status = replace(self.status, joined=True, trouble="")
            return

    def _take_all(self, listing: Listing) -> None:
        kinds = ((one, _kind_of(one.key)) for one in listing.entries)
        self._known = {one.key: stored.decode(one.value, kind) for one, kind in kinds if kind is not None}
        self.status = replace(self.status, trouble="")
        self._changed.set()

    def _take(self, change: Changed) -> None:
        kind = _kind_of(change.key)
        if kind is None:
            return  # of no interest here
        assert self._known is not None
        if change.key == keys.network_key_of(self._me):
            self._told_of_removal = change.value is None
        if change.value is None:
            self._known.pop(change.key, None)
        else:
            self._known[change.key] = stored.decode(change.value, kind)
        self._changed.set()

    async def _keep(self) -> None:
        """The daemon as it is wanted, for ever."""
        await self._changed.wait()
        while True:
            self._changed.clear()
            began = self._clock.monotonic()
            patience_seconds = await self.apply()
            await self._look()
            if patience_seconds < AGAIN_SECONDS:
                await self._clock.sleep(patience_seconds)
                continue
            if await self._first(self._changed.wait(), self._daemon_ended(), self._clock.sleep(AGAIN_SECONDS)):
                continue
            log.warning("the routing daemon has ended; it is started again")
            self._text = None
            if self._clock.monotonic() - began < RETRY_SECONDS:
                await self._clock.sleep(RETRY_SECONDS)

    async def apply(self) -> float:
        """Once, by what is known. Returns how long it may stay so, if nothing happens."""
        assert self._known is not None
        nodes = [one for one in self._known.values() if isinstance(one, Node)]
        try:
            if any(one.name == self._me.name for one in nodes):
                await self._apply(self._plan(nodes))
            elif nodes or self._told_of_removal:
                await self._leave()
        except ColdchainError as error:
            if str(error) != self.status.machine_trouble:
                log.warning("routes are not as they should be", error=str(error))
            self.status = replace(self.status, machine_trouble=str(error))
            return RETRY_SECONDS if isinstance(error, Unavailable) else AGAIN_SECONDS
        self.status = replace(self.status, machine_trouble="")
        return AGAIN_SECONDS

    async def _apply(self, plan: RoutePlan) -> None:
        passwords, findings = await self._open_passwords(plan)
        self.status = replace(self.status, removed=False, findings=plan.findings + findings)
        self.removed.clear()
        text = self._render(plan, passwords)
        if plan.tunnel is not None:
            await self._tunnels.apply(plan.tunnel)  # before its routes, which need the device
        if text != self._text:
            await self._daemon.apply(text)
            self._text = text
        self._plan_applied = plan
        if plan.tunnel is None:
            await self._tunnels.apply(None)

    def _plan(self, nodes: list[Node]) -> RoutePlan:
        """Of its own node it believes its machine, but for what an operator has said of it."""
        assert self._known is not None
        known = self._known.values()
        (mine,) = [one for one in nodes if one.name == self._me.name]
        return route_plan(
            replace(self._me, reflector=mine.reflector),
            nodes,
            [one for one in known if isinstance(one, Block)],
            [one for one in known if isinstance(one, Pool)],
            next((one for one in known if isinstance(one, Routing)), Routing()),
        )

    async def _leave_at_the_start(self) -> None:
        """What was announced until then may be somebody else's by now."""
        try:
            await self._leave()
        except ColdchainError as error:
            self.status = replace(self.status, machine_trouble=str(error))

    async def _leave(self) -> None:
        """Somebody removed this node. Once it is done there is nothing more to do."""
        if self.status.removed:
            return
        log.warning("this node was removed: its routes go", node=self._me.name)
        await self._daemon.stop()
        await self._tunnels.apply(None)
        self._text = self._plan_applied = None
        self.status = replace(self.status, removed=True, findings=())
        self.removed.set()

    async def _open_passwords(self, plan: RoutePlan) -> tuple[Mapping[str, str], tuple[RouteFinding, ...]]:
        """A store that does not answer leaves those that are known."""
        findings = []
        for name in sorted({one.secret for family in plan.families for one in family.sessions if one.secret}):
            try:
                self._passwords[name] = await self._open(name)
            except Unavailable:
                if name in self._passwords:
                    continue
                raise
            except ColdchainError as error:
                self._passwords.pop(name, None)
                reason = f"sessions with the password {name!r} are left out: {error.message}"
                findings.append(RouteFinding(reason=reason, todo=error.todo))
        return self._passwords, tuple(findings)

    async def _open(self, name: str) -> str:
        entry = await self._store.get(keys.secret(name))
        if entry is None:
            raise Rejected(f"there is no secret {name!r}", todo=f"`coldchain secret set {name}` sets it.")
        if self._cipher is None:
            raise Rejected("netd has no keys of secrets", todo="Start it with --secret-keys.")
        secret = stored.decode(entry.value, Secret)
        password = self._cipher.open(secret.name, secret.key_id, secret.sealed)
        if problem := password_problem(password):
            raise Rejected(problem, todo=f"`coldchain secret set {name}` sets another.")
        return password

    async def _look(self) -> None:
        if self.status.removed or self._text is None:
            self.status = replace(self.status, sessions={})
            return
        try:
            sessions = dict(await self._daemon.sessions())
        except ColdchainError:
            sessions = {}
        self.status = replace(self.status, sessions=sessions)

    async def _daemon_ended(self) -> None:
        if self.status.removed or self._text is None:
            await asyncio.Event().wait()
        await self._daemon.ended()

    async def _first(self, changed: Any, ended: Any, later: Any) -> bool:
        """Waits for one of them. Returns whether the daemon goes on."""
        waits = [asyncio.ensure_future(one) for one in (changed, ended, later)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return not waits[1].done()
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _trouble(self, error: ColdchainError) -> None:
        if str(error) != self.status.trouble:
            log.warning("the store does not tell of routes", error=str(error))
        self.status = replace(self.status, trouble=str(error))


def _kind_of(key: str) -> type[Noun] | None:
    return next((kind for prefix, kind in READ.items() if key.startswith(prefix)), None)
