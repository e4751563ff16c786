"""rotation: publishes the rotation to the gateways and keeps their leases: the controller's side of the feed."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable

from coldchain.control.state import State
from coldchain.decisions import rotation as rotations
from coldchain.decisions import route as routes
from coldchain.decisions.rotation import GatewaySession
from coldchain.model.gateway import KnownGateway
from coldchain.model.instance import Instance
from coldchain.model.rotation import Endpoint, GatewayReport, Rotation, RotationUpdate
from coldchain.ports.clock import Clock

LEASE_SECONDS = 5.0
"""For the gateway, from the moment it began to send its report. Long enough for a loaded machine, short enough that
a gateway that died holds up a rollout only for a moment."""
LEASE_MARGIN_SECONDS = 1.0
"""The controller's side ends this much later, so that a gateway has failed its readiness before it is given up."""
UPDATES_KEPT = 1000
"""A gateway that is further behind gets the whole."""
TERM_SHIFT = 32
"""Revisions are (term of the controller) × 2^32 + count, so they grow over restarts without being stored."""


class Publisher:
    """Implements ports.rotation_feed.RotationFeed. `changed(app ids)` is called when a report may let an app go on."""

    def __init__(self, state: State, clock: Clock, term: int, changed: Callable[[Collection[str]], None]) -> None:
        self._state = state
        self._clock = clock
        self._changed = changed
        self._updates: deque[RotationUpdate] = deque(maxlen=UPDATES_KEPT)
        self._published = asyncio.Event()
        self._services_of: dict[str, list[str]] = {}
        self._app_of: dict[str, str] = {}
        self._unhealthy: dict[str, frozenset[str]] = {}
        self.rotation = Rotation(revision=term << TERM_SHIFT)
        self.sessions: dict[str, GatewaySession] = {}

    @property
    def lease_seconds(self) -> float:
        return LEASE_SECONDS

    def start(self) -> None:
        """Begin with the records as they were read: every known gateway has a whole lease to report in."""
        until = self._clock.monotonic() + LEASE_SECONDS + LEASE_MARGIN_SECONDS
        for name in self._state.gateways:
            self.sessions[name] = GatewaySession(gateway=name, applied=0, lease_until=until)
        self.refresh({*self._state.apps, *self._state.instances_of}, {})

    def refresh(self, app_ids: Iterable[str], unhealthy: dict[str, frozenset[str]]) -> None:
        """Make the rotation anew for these apps and wake the gateways if it changed. `unhealthy`: ids by app."""
        self._unhealthy.update(unhealthy)
        wanted: dict[str, tuple[Endpoint, ...] | None] = {}
        for app_id in app_ids:
            found = self._endpoints(app_id)
            wanted.update(dict.fromkeys(self._services_of.pop(app_id, [])))
            wanted.update(found)
            if found:
                self._services_of[app_id] = list(found)
                self._app_of.update(dict.fromkeys(found, app_id))
        rules = routes.rules(self._state.wanted_apps())
        gone = dict.fromkeys(domain for domain in self.rotation.routes if domain not in rules)
        update = rotations.renew(self.rotation, wanted, rules | gone)
        if update is None:
            return
        self.rotation = rotations.apply(self.rotation, update)
        self._updates.append(update)
        self._published.set()
        self._published = asyncio.Event()

    def _endpoints(self, app_id: str) -> dict[str, tuple[Endpoint, ...]]:
        instances = list(self._state.instances_of.get(app_id, {}).values())
        version = self._state.wanted(app_id)
        definitions = [version.app] if version else [self._state.app_of(one) for one in instances if one.live]
        if not definitions:
            return {}
        return rotations.endpoints(definitions[0], instances, self._unhealthy.get(app_id, frozenset()))

    def live(self) -> list[GatewaySession]:
        """The gateways that must be waited for now."""
        return rotations.live(self.sessions.values(), self._clock.monotonic())

    def acknowledged(self, instance: Instance, weight: int) -> bool:
        """True when every live gateway works by this weight of the instance; an app without a service asks nobody."""
        names = self._services_of.get(instance.app_id, [])
        endpoints = [one for name in names for one in self.rotation.services[name].endpoints]
        found = [one for one in endpoints if one.instance_id == instance.id]
        if not found:
            return not names
        sessions = self.live()
        return all(rotations.acknowledged(one, weight, sessions) for one in found)

    def in_flight(self, instance: Instance) -> int | None:
        """Open requests of an instance of weight 0 over all live gateways; None when one has not said."""
        if instance.app_id not in self._services_of:
            return 0
        return rotations.in_flight(instance.id, self.live())

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        await self._note(report)
        if report.applied == self.rotation.revision:
            published = self._published
            wait = asyncio.ensure_future(published.wait())
            sleep = asyncio.ensure_future(self._clock.sleep(wait_seconds))
            try:
                await asyncio.wait({wait, sleep}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                wait.cancel()
                sleep.cancel()
        return self._update_since(report.applied)

    async def _note(self, report: GatewayReport) -> None:
        if report.gateway not in self._state.gateways:
            async with self._state.lock:
                await self._state.fresh()
                await self._state.commit([KnownGateway(name=report.gateway, first_seen=self._clock.now())])
        known = self.sessions.get(report.gateway)
        self.sessions[report.gateway] = GatewaySession(
            gateway=report.gateway,
            applied=report.applied,
            lease_until=self._clock.monotonic() + LEASE_SECONDS + LEASE_MARGIN_SECONDS,
            in_flight=report.in_flight,
        )
        self._changed(self._touched(known, report))

    def _touched(self, known: GatewaySession | None, report: GatewayReport) -> set[str]:
        """The apps that may go on because of a report: whose endpoints it newly applied or whose requests it ended."""
        if known is None:
            return set(self._services_of)
        names: set[str] = set()
        if report.applied != known.applied:
            news = [one for one in self._updates if known.applied < one.revision <= report.applied]
            names = set(self._app_of) if known.applied == 0 else {name for one in news for name in one.services}
        apps = {self._app_of[name] for name in names if name in self._app_of}
        for instance_id in known.in_flight.keys() | report.in_flight.keys():
            if known.in_flight.get(instance_id) != report.in_flight.get(instance_id):
                instance = self._state.instances.get(instance_id)
                if instance is not None:
                    apps.add(instance.app_id)
        return apps

    def _update_since(self, applied: int) -> RotationUpdate | None:
        current = self.rotation
        if applied == current.revision:
            return None
        missed = [one for one in self._updates if one.revision > applied]
        if not missed or missed[0].base != applied:
            return RotationUpdate(
                base=0, revision=current.revision, services=dict(current.services), routes=dict(current.routes)
            )
        return RotationUpdate(
            base=applied,
            revision=current.revision,
            services={name: current.services.get(name) for one in missed for name in one.services},
            routes={domain: current.routes.get(domain) for one in missed for domain in one.routes},
        )
