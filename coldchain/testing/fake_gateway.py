"""A data plane in memory, with the faults that a real one has, on the clock it is given."""

import ipaddress
from collections.abc import Callable, Mapping

import msgspec

from coldchain.decisions import rotation as decisions
from coldchain.decisions.share import share_of
from coldchain.model.errors import InvalidDocument, Problem, Unavailable
from coldchain.model.limit import LimitUse
from coldchain.model.rotation import Endpoint, GatewayReport, Rotation, RotationUpdate
from coldchain.model.traffic import Traffic, TrafficNews
from coldchain.ports.clock import Clock
from coldchain.ports.gateway import OutOfStep


class FakeGateway:
    """Implements `ports.gateway.Gateway`. A test sets the faults, the open requests, how many of them are streams, and
    the counts by instance id, and `uses` by limit.

    `refuses` True: it does not answer, and nothing happens. `replies_lost` > 0: so many calls happen and are not
    answered. `delay_seconds`: what each call takes, `apply_seconds`: what an update takes beyond that. `applied` is
    called with it after each update. `forget` loses its state, as a restart does.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.rotation = Rotation()
        self.open_requests: dict[str, int] = {}
        self.open_streams: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.counts: dict[str, Traffic] = {}
        self.uses: dict[str, LimitUse] = {}
        self.shares: dict[str, float] = {}
        self.refuses = False
        self.replies_lost = 0
        self.delay_seconds = 0.0
        self.apply_seconds = 0.0
        self.applied: Callable[[FakeGateway], None] = lambda gateway: None
        self._clock = clock
        self._mark = 0
        self._marked: dict[str, tuple[int, Traffic]] = {}
        self._lease_until = clock.monotonic()

    async def apply(self, update: RotationUpdate) -> None:
        await self._receive()
        if self.apply_seconds:
            await self._clock.sleep(self.apply_seconds)
        _check(update)
        has = self.rotation.revision
        if update.revision < has or update.base not in (0, has):
            raise OutOfStep(f"gateway {self.name} has revision {has}", todo="Send it the whole rotation")
        self.rotation = decisions.apply(self.rotation, update)
        listed = {one.instance_id for one in self._endpoints()}
        for instance in self.counts.keys() - listed:
            del self.counts[instance]
            self._marked.pop(instance, None)
        self._cut()
        self.applied(self)
        self._reply()

    async def report(self) -> GatewayReport:
        await self._receive()
        in_flight = {one.instance_id: 0 for one in self._endpoints() if one.weight == 0}
        kept = {one.instance_id for one in self._endpoints()} - in_flight.keys()
        in_flight |= {
            instance: count for instance, count in self.open_requests.items() if count and instance not in kept
        }
        streams = {instance: count for instance, count in self.open_streams.items() if count and instance not in kept}
        self._reply()
        return GatewayReport(
            gateway=self.name,
            applied=self.rotation.revision,
            in_flight=in_flight,
            streams=streams,
            cut=dict(self.cut),
        )

    async def traffic(self, since: int) -> TrafficNews:
        await self._receive()
        listed = {one.instance_id for one in self._endpoints()}
        news = {name: count for name, count in self.counts.items() if name in listed}
        self._mark += 1
        self._marked = {
            name: known if (known := self._marked.get(name)) and known[1] == count else (self._mark, count)
            for name, count in news.items()
        }
        self._reply()
        return TrafficNews(
            mark=self._mark, instances={name: count for name, (mark, count) in self._marked.items() if mark > since}
        )

    async def limits(self) -> Mapping[str, LimitUse]:
        await self._receive()
        self._reply()
        return {
            name: msgspec.structs.replace(use, share=share_of(self.shares, name)) for name, use in self.uses.items()
        }

    async def share(self, shares: Mapping[str, float]) -> None:
        await self._receive()
        self.shares = dict(shares)
        self._reply()

    async def renew(self, seconds: float) -> None:
        sent_at = self._clock.monotonic()
        await self._receive()
        self._lease_until = sent_at + seconds
        self._reply()

    async def close(self) -> None:
        return None

    @property
    def ready(self) -> bool:
        """What the balancer before it is told."""
        return self._clock.monotonic() < self._lease_until

    def routes_to(self, instance_id: str) -> bool:
        """True when a new request could go there: the balancer before it leaves a gateway that is not ready."""
        return self.ready and any(one.instance_id == instance_id and one.weight > 0 for one in self._endpoints())

    def forget(self) -> None:
        """It was started anew: no rotation, no lease, no open request."""
        self.rotation = Rotation()
        self.open_requests.clear()
        self.open_streams.clear()
        self.cut.clear()
        self.counts.clear()
        self._marked.clear()
        self.shares.clear()
        self._lease_until = self._clock.monotonic()

    def _endpoints(self) -> list[Endpoint]:
        return [endpoint for service in self.rotation.services.values() for endpoint in service.endpoints]

    def _cut(self) -> None:
        marked = {one.instance_id for one in self._endpoints() if one.cut_streams is True}
        for instance in marked & self.open_streams.keys():
            ended = self.open_streams.pop(instance)
            self.open_requests[instance] -= ended
            self.cut[instance] = self.cut.get(instance, 0) + ended
        self.cut = {name: count for name, count in self.cut.items() if name in marked}

    async def _receive(self) -> None:
        if self.delay_seconds:
            await self._clock.sleep(self.delay_seconds)
        if self.refuses:
            raise Unavailable(f"gateway {self.name} does not answer")

    def _reply(self) -> None:
        if self.replies_lost > 0:
            self.replies_lost -= 1
            raise Unavailable(f"the reply of gateway {self.name} was lost")


def _check(update: RotationUpdate) -> None:
    for name, service in update.services.items():
        for endpoint in service.endpoints if service else ():
            try:
                ipaddress.ip_address(endpoint.address)
            except ValueError as error:
                raise InvalidDocument([Problem(path=f"/services/{name}", reason=str(error))]) from error
