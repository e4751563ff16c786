"""rotation: publishes the rotation to the gateways and keeps their leases: the controller's side of the feed."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from itertools import takewhile

import structlog

from coldchain.control.shares import ShareKeeper
from coldchain.control.state import State
from coldchain.decisions import gray as grays
from coldchain.decisions import registration as registrations
from coldchain.decisions import rotation as rotations
from coldchain.decisions import route as routes
from coldchain.decisions.rotation import GatewaySession
from coldchain.model.errors import Conflict
from coldchain.model.gateway import KnownGateway
from coldchain.model.gateway_resource import GrayRelease, Resource
from coldchain.model.instance import Instance
from coldchain.model.rotation import Endpoint, GatewayReport, Rotation, RotationUpdate, RouteRule
from coldchain.ports.clock import Clock

log = structlog.get_logger(__name__)

LEASE_SECONDS = 5.0
"""For the gateway, from the moment it began to send its report. Long enough for a loaded machine, short enough that
a gateway that died holds up a rollout only for a moment."""
LEASE_MARGIN_SECONDS = 1.0
"""The controller's side ends this much later, so that a gateway has failed its readiness before it is given up."""
QUARANTINE_SECONDS = LEASE_SECONDS + LEASE_MARGIN_SECONDS + 5.0
"""How long the address of a stopped instance stays unused: a gateway that lost touch has failed its readiness by then
(lease), and requests it had accepted before are over or have found nobody (staleness)."""
OUT_OF_TOUCH_SECONDS = 600.0
"""How long the address of a stopped instance stays unused while a gateway is out of touch: whoever still reaches that
one, although it says that it is not ready, must not be led to another service. After so long it is taken for gone."""
UPDATES_KEPT = 1000
"""A gateway that is further behind gets the whole."""
TERM_SHIFT = 32
"""Revisions are (term of the controller) × 2^32 + count, so they grow over restarts without being stored."""


class Publisher:
    """Implements ports.rotation_feed.RotationFeed. `changed(app ids)` is called when a report may let an app go on.
    `resources` says what gateways are to know beside services and routes, by `kind/name`; it is set before `start`."""

    def __init__(self, state: State, clock: Clock, term: int, changed: Callable[[Collection[str]], None]) -> None:
        self._state = state
        self._clock = clock
        self._changed = changed
        self._updates: deque[RotationUpdate] = deque(maxlen=UPDATES_KEPT)
        self._published = asyncio.Event()
        self._services_of: dict[str, list[str]] = {}
        self._app_of: dict[str, str] = {}
        self._routed: dict[str, object] = {}
        self._gray: dict[str, dict[str, GrayRelease]] = {}
        self._gray_since: dict[str, int] = {}
        self._unhealthy: dict[str, frozenset[str]] = {}
        self._marked: dict[str, frozenset[str]] = {}
        self._made_of: dict[str, object] = {}
        self._listed: dict[str, dict[str, list[Endpoint]]] = {}
        self._changed_at: dict[str, int] = {}
        self._first = term << TERM_SHIFT
        self._all_heard_at = 0.0
        self._applied_by_all = 0
        self._given: dict[str, int] = {}
        self.on_published: Callable[[Rotation, Collection[str]], None] = lambda rotation, services: None
        self.on_report: Callable[[GatewayReport], None] = lambda report: None
        self.on_left: Callable[[GatewayReport], None] = lambda report: None
        self.resources: Callable[[], Mapping[str, Resource]] = dict
        self.rotation = Rotation(revision=self._first)
        self._shares = ShareKeeper(clock, lambda: (one.gateway for one in self.live()))
        self.sessions: dict[str, GatewaySession] = {}

    @property
    def lease_seconds(self) -> float:
        return LEASE_SECONDS

    def start(self) -> None:
        """Begin with the records as they were read: every known gateway has a whole lease to report in."""
        until = self._clock.monotonic() + LEASE_SECONDS + LEASE_MARGIN_SECONDS
        self._all_heard_at = until
        self.refresh({*self._state.apps, *self._state.instances_of}, {})
        self.refresh_resources()
        for name in self._state.gateways:
            self.sessions[name] = GatewaySession(
                gateway=name, applied=0, lease_until=until, caught_up_at=self.rotation.revision
            )

    def refresh_resources(self) -> None:
        """Ask `resources` again, and wake the gateways if they changed."""
        wanted: dict[str, Resource | None] = {key: one for found in self._gray.values() for key, one in found.items()}
        wanted.update(self.resources())
        gone = dict.fromkeys(self.rotation.resources.keys() - wanted.keys())
        self._publish(rotations.renew(self.rotation, {}, {}, wanted | gone))

    def refresh(
        self,
        app_ids: Iterable[str],
        unhealthy: dict[str, frozenset[str]],
        marked: dict[str, frozenset[str]] | None = None,
    ) -> None:
        """Make the rotation anew for these apps and wake the gateways if it changed. `unhealthy`, and `marked` as out
        of service by somebody's wish: ids by app."""
        self._unhealthy.update(unhealthy)
        self._marked.update(marked or {})
        shared = self._shared(app_ids := list(app_ids))
        app_ids = [app_id for app_id in app_ids if self._is_news(app_id)]
        wanted: dict[str, tuple[Endpoint, ...] | None] = {}
        for app_id in app_ids:
            found = self._endpoints(app_id)
            gone = [name for name in self._services_of.pop(app_id, ()) if name not in found]
            wanted.update(dict.fromkeys(gone))
            wanted.update(found)
            for name in gone:
                self._app_of.pop(name, None)
            if found:
                self._services_of[app_id] = list(found)
                self._app_of.update(dict.fromkeys(found, app_id))
            else:
                self._unhealthy.pop(app_id, None)
                self._marked.pop(app_id, None)
        update = rotations.renew(self.rotation, wanted, self._rules(app_ids), shared)
        self._publish(update)
        for app_id in app_ids:
            self._index(app_id, update)

    def _publish(self, update: RotationUpdate | None) -> None:
        if update is not None:
            self.rotation = rotations.apply(self.rotation, update)
            self._updates.append(update)
            self._published.set()
            self._published = asyncio.Event()
            for app_id, found in self._gray.items():
                if not found.keys().isdisjoint(update.resources):
                    self._gray_since[app_id] = update.revision
            self.on_published(self.rotation, update.services.keys())

    def _shared(self, app_ids: Iterable[str]) -> dict[str, Resource | None]:
        """What changes of which requests these apps' versions get. Known to gateways with the first endpoint that is
        told apart, or before."""
        changed: dict[str, Resource | None] = {}
        for app_id in app_ids:
            found, before = self._wanted_shares(app_id), self._gray.get(app_id, {})
            if found == before:
                continue
            changed.update(dict.fromkeys(before))
            changed.update(found)
            if found:
                self._gray[app_id] = found
            else:
                self._gray.pop(app_id, None)
                self._gray_since.pop(app_id, None)
        return changed

    def _wanted_shares(self, app_id: str) -> dict[str, GrayRelease]:
        running, version = self._state.running.get(app_id), self._state.wanted(app_id)
        group = self._state.moved_by.get(app_id)
        if running is None and group is not None:
            # A member that failed stays as it is until the whole is taken back.
            member = self._state.deployments.get(group.members.get(app_id, ""))
            running = member if member is not None and member.state == "failed" else None
        return grays.releases(version.app if version else None, running)

    def gray_in_force(self, app_id: str) -> bool:
        """True when every live gateway works by what the app's running deployment says of requests to two versions."""
        if self._gray.get(app_id, {}) != self._wanted_shares(app_id):
            return False
        since = self._gray_since.get(app_id, self._first)
        return (
            app_id not in self._gray
            or self._applied_by_all >= since
            or all(one.applied >= since for one in self.live())
        )

    def _is_news(self, app_id: str) -> bool:
        """Whether anything that an app's part of the rotation is made of is not as it was when that was made."""
        instances = tuple(self._state.instances_of.get(app_id, {}).values())
        unhealthy, external = self._unhealthy.get(app_id, frozenset()), self._state.externals.get(app_id)
        marked = self._marked.get(app_id, frozenset())
        parts = (self._state.wanted(app_id), instances, unhealthy, marked, external)
        if self._made_of.get(app_id) == parts:
            return False
        self._made_of[app_id] = parts
        return True

    def _index(self, app_id: str, update: RotationUpdate | None) -> None:
        listed: dict[str, list[Endpoint]] = {}
        for name in self._services_of.get(app_id, ()):
            for endpoint in self.rotation.services[name].endpoints:
                listed.setdefault(endpoint.instance_id, []).append(endpoint)
        before = self._listed.pop(app_id, {})
        if listed:
            self._listed[app_id] = listed
        if update is not None and before != listed:
            self._changed_at[app_id] = update.revision
        if not listed and app_id not in self._state.apps and app_id not in self._state.instances_of:
            self._changed_at.pop(app_id, None)
            self._made_of.pop(app_id, None)

    def _rules(self, app_ids: Iterable[str]) -> dict[str, tuple[RouteRule, ...] | None]:
        """What changes of the routes: nothing, unless one of these apps has other routes than when it was last seen."""
        changed = False
        for app_id in app_ids:
            version = self._state.wanted(app_id)
            routed = (version.app.routes, rotations.services(version.app)) if version and version.app.routes else None
            if routed != self._routed.get(app_id):
                changed = True
                self._routed.pop(app_id, None)
                if routed is not None:
                    self._routed[app_id] = routed
        if not changed:
            return {}
        rules = routes.rules(self._state.wanted_apps())
        return rules | dict.fromkeys(domain for domain in self.rotation.routes if domain not in rules)

    def _endpoints(self, app_id: str) -> dict[str, tuple[Endpoint, ...]]:
        instances = [one for one in self._state.instances_of.get(app_id, {}).values() if one.live]
        version = self._state.wanted(app_id)
        external = self._state.externals.get(app_id)
        if version is not None and version.app.external:
            found = registrations.endpoints(external.endpoints if external else ())
            return dict.fromkeys(rotations.services(version.app), found)
        return rotations.endpoints(
            version.app if version else None,
            [(one, self._state.app_of(one)) for one in instances],
            self._unhealthy.get(app_id, frozenset()),
            self._marked.get(app_id, frozenset()),
        )

    def live(self) -> list[GatewaySession]:
        """The gateways that must be waited for now."""
        return rotations.live(self.sessions.values(), self._clock.monotonic())

    def out_of_touch(self) -> list[str]:
        """The gateways that may still work by what was before."""
        return rotations.out_of_touch(self.sessions.values(), self._clock.monotonic(), OUT_OF_TOUCH_SECONDS)

    def acknowledged(self, instance: Instance, weight: int) -> bool:
        """True when every live gateway works by this weight of the instance; an app without a service asks nobody."""
        return not self.waits_for(instance, weight)

    def waits_for(self, instance: Instance, weight: int) -> str:
        """What its acknowledgement waits for, in words; empty when it has it."""
        found = self._listed.get(instance.app_id, {}).get(instance.id, ())
        if not found and weight:
            if not rotations.services(self._state.app_of(instance)):
                return ""
            return "it has no address at which its service could be reached"
        if any(one.weight != weight for one in found):
            marked = instance.id in self._marked.get(instance.app_id, ())
            bad = "it is marked as out of service" if marked else "its probes fail"
            return bad if weight else "its mark is not published yet"
        if any((one.cut_streams is True) != (instance.streams_cut_at is not None) for one in found):
            return "that its streams are to end is not published yet"
        since = max((one.since for one in found), default=self._changed_at.get(instance.app_id, self._first))
        now = self._clock.monotonic()
        behind = [] if self._applied_by_all >= since else [one for one in self.live() if one.applied < since]
        if not behind and found and not weight and now < self._all_heard_at:
            # A store restored from older data may not know all gateways, and who leaves is not asked for again.
            return f"gateways that have not reported since the start ({self._all_heard_at - now:.0f} s more)"
        return ", ".join(
            f"gateway {one.gateway} has not applied it (its lease ends in {one.lease_until - now:.0f} s)"
            for one in sorted(behind, key=lambda one: one.gateway)
        )

    def overruled(self, instance: Instance) -> bool:
        """True when its probes fail and it serves on, because so many others of its service fail too."""
        found = self._listed.get(instance.app_id, {}).get(instance.id, ())
        return instance.id in self._unhealthy.get(instance.app_id, ()) and any(one.weight for one in found)

    def in_flight(self, instance: Instance) -> int | None:
        """Open requests of an instance of weight 0 over all live gateways; None when one has not said."""
        if instance.id not in self._listed.get(instance.app_id, {}):
            return 0
        return rotations.in_flight(instance.id, self.live())

    def streams(self, instance: Instance) -> int:
        """How many of those are streams."""
        return rotations.streams(instance.id, self.live())

    def cut(self, instance: Instance) -> int:
        """How many streams gateways have ended there."""
        return rotations.cut(instance.id, self.live())

    def in_step(self) -> bool:
        """True when every live gateway works by a rotation of this controller, of whatever age. Not before a lease is
        over since the start: a store restored from older data may not know all gateways."""
        heard = self._clock.monotonic() >= self._all_heard_at
        return heard and all(one.applied >= self._first for one in self.live())

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        """Raises Conflict for one of two gateways that have the same name: what one acknowledged would count for the
        other."""
        if rotations.another(self.sessions.get(report.gateway), report, self._clock.monotonic()):
            raise Conflict(
                f"Another gateway is called {report.gateway!r} and is fed already",
                todo="Give each gateway a name of its own: `coldchain up --gateway-name`, `coldchain gateway --name`.",
            )
        if report.leaving:
            await self._forget(report)
            return None
        await self._note(report)
        if report.applied == self.rotation.revision:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._published.wait()
        update = self._update_since(report.applied)
        if update is not None:
            self._given[report.gateway] = update.revision
        return update

    def shares(self, gateway: str) -> Mapping[str, float]:
        """Which part of each limit is that gateway's."""
        return self._shares.shares(gateway)

    def _overtake(self, report: GatewayReport) -> None:
        """The gateway works by a rotation that this controller did not give it: the store was restored from older
        data. What it would refuse, and what it seems to have acknowledged, is numbered anew above that."""
        log.warning("the gateway is ahead of the store: numbering anew", gateway=report.gateway, applied=report.applied)
        self.rotation = rotations.renumbered(self.rotation, max(report.applied, self.rotation.revision) + 1)
        self._first = self.rotation.revision
        self._updates.clear()
        self._changed_at.clear()
        self._gray_since.clear()
        self._published.set()
        self._published = asyncio.Event()
        for app_id in self._services_of:
            self._index(app_id, None)

    async def _note(self, report: GatewayReport) -> None:
        if report.applied >= self._first and report.applied > self._given.get(report.gateway, 0):
            self._overtake(report)
        if report.gateway not in self._state.gateways:
            async with self._state.lock:
                await self._state.fresh()
                await self._state.commit([KnownGateway(name=report.gateway, first_seen=self._clock.now())])
        known, now = self.sessions.get(report.gateway), self._clock.monotonic()
        returns = known is not None and known.lease_until <= now
        self.sessions[report.gateway] = GatewaySession(
            gateway=report.gateway,
            place=report.place,
            applied=report.applied,
            lease_until=now + LEASE_SECONDS + LEASE_MARGIN_SECONDS,
            in_flight=report.in_flight,
            streams=report.streams,
            cut=report.cut,
            ejected=report.ejected,
            caught_up_at=self.rotation.revision if returns else known.caught_up_at if known else 0,
        )
        self._applied_by_all = min(one.applied for one in self.sessions.values())
        self._changed(self._touched(known, report))
        self._shares.reported(report)
        self.on_report(report)

    async def _forget(self, report: GatewayReport) -> None:
        """It has left, with nothing open: from now on nobody waits for it."""
        known = self._state.gateways.get(report.gateway)
        if known is not None:
            async with self._state.lock:
                await self._state.fresh()
                await self._state.commit(remove=[known])
        self.sessions.pop(report.gateway, None)
        self._given.pop(report.gateway, None)
        self._applied_by_all = min((one.applied for one in self.sessions.values()), default=0)
        self._changed(set(self._services_of))
        self.on_left(report)

    def _touched(self, known: GatewaySession | None, report: GatewayReport) -> set[str]:
        """The apps that may go on because of a report: whose endpoints it newly applied or whose requests it ended."""
        if known is None:
            return set(self._services_of)
        names: set[str] = set()
        if report.applied != known.applied:
            news = [one for one in self._after(known.applied) if one.revision <= report.applied]
            followed = bool(news) and news[0].base == known.applied
            names = {name for one in news for name in one.services} if followed else set(self._app_of)
            names |= {one.service for found in self._gray.values() for one in found.values()}
        apps = {self._app_of[name] for name in names if name in self._app_of}
        for instance_id in known.in_flight.keys() | report.in_flight.keys():
            streams = known.streams.get(instance_id), known.cut.get(instance_id)
            told = report.streams.get(instance_id), report.cut.get(instance_id)
            if known.in_flight.get(instance_id) != report.in_flight.get(instance_id) or streams != told:
                instance = self._state.instances.get(instance_id)
                if instance is not None:
                    apps.add(instance.app_id)
        return apps

    def _after(self, revision: int) -> list[RotationUpdate]:
        """The kept updates after a revision, the oldest first."""
        return list(takewhile(lambda one: one.revision > revision, reversed(self._updates)))[::-1]

    def _update_since(self, applied: int) -> RotationUpdate | None:
        current = self.rotation
        if applied == current.revision:
            return None
        missed = self._after(applied)
        if not missed or missed[0].base != applied:
            return RotationUpdate(
                base=0,
                revision=current.revision,
                services=dict(current.services),
                routes=dict(current.routes),
                resources=dict(current.resources),
            )
        return RotationUpdate(
            base=applied,
            revision=current.revision,
            services={name: current.services.get(name) for one in missed for name in one.services},
            routes={domain: current.routes.get(domain) for one in missed for domain in one.routes},
            resources={key: current.resources.get(key) for one in missed for key in one.resources},
        )
