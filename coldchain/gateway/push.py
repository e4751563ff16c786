"""push: the adapter of `ports.gateway.Gateway` for nginx."""

import ipaddress
import socket
import time
import uuid
from collections.abc import Mapping

import msgspec
import structlog

from coldchain.gateway.control_socket import ControlSocket, message, unexpected
from coldchain.gateway.process import lost_its_master
from coldchain.gateway.settings import GatewaySettings
from coldchain.model.errors import InvalidDocument, Problem, Rejected
from coldchain.model.limit import LimitsUse, LimitUse
from coldchain.model.rotation import GatewayReport, RotationUpdate
from coldchain.model.traffic import TrafficNews
from coldchain.ports.gateway import OutOfStep

_MORE_ROOM = (
    "Start the gateway again with more memory: `coldchain gateway --memory rotation=MIB`, or `coldchain up "
    "--gateway-memory rotation=MIB`; `control=MIB` where that is named"
)

log = structlog.get_logger(__name__)


class NginxGateway:
    """The data plane of one machine. `name` is what it reports as."""

    def __init__(self, name: str, settings: GatewaySettings) -> None:
        self.name = name
        self._prefix = settings.prefix
        self._place = ""
        # A little longer than nginx waits for its workers, so that its own answer (which worker) arrives.
        self._control = ControlSocket(settings.control_socket, settings.acknowledge_timeout_seconds + 5.0)
        self._orphaned = False

    async def apply(self, update: RotationUpdate) -> None:
        _check_addresses(update)
        status, text = await self._control.call("PUT", "/rotation", msgspec.json.encode(update))
        if status == 204:
            return
        if status == 409:
            raise OutOfStep(f"gateway {self.name}: {message(text)}", todo="Send it the whole rotation")
        if status == 507:
            raise Rejected(
                f"gateway {self.name} keeps its last rotation: {message(text)}",
                todo=_MORE_ROOM,
            )
        raise unexpected(status, text)

    async def report(self) -> GatewayReport:
        state = await self._control.state()
        orphaned = lost_its_master(state)
        if orphaned and not self._orphaned:
            # To start it anew would refuse connections for a moment, which its workers do not.
            log.warning(
                "nginx has lost its master process: its workers serve on, but none that ends is replaced",
                todo="Start `coldchain up` or `coldchain gateway` again in a quiet moment: it starts nginx anew",
            )
        self._orphaned = orphaned
        return GatewayReport(
            gateway=self.name,
            place=self.place,
            applied=state.applied,
            in_flight=state.in_flight,
            streams=state.streams,
            cut=state.cut,
            ejected=tuple(sorted({instance for found in state.ejected.values() for instance in found})),
        )

    @property
    def place(self) -> str:
        """Made once for a folder, in which one nginx runs."""
        if not self._place:
            file = self._prefix / "place"
            if not file.exists():
                made = file.with_name("place.new")
                made.write_text(uuid.uuid4().hex)
                made.replace(file)
            self._place = file.read_text()
        return self._place

    async def traffic(self, since: int) -> TrafficNews:
        return await self._control.ask(f"/traffic?since={since}", TrafficNews)

    async def limits(self) -> Mapping[str, LimitUse]:
        return (await self._control.ask("/limits", LimitsUse)).limits

    async def share(self, shares: Mapping[str, float]) -> None:
        status, text = await self._control.call("POST", "/shares", msgspec.json.encode(shares))
        if status == 507:
            raise Rejected(f"gateway {self.name}: {message(text)}", todo=_MORE_ROOM)
        if status != 204:
            raise unexpected(status, text)

    async def renew(self, seconds: float) -> None:
        # The deadline is on the clock that nginx reads too, so a late delivery does not lengthen the lease.
        until = time.monotonic() + seconds
        await self._control.order("/lease", msgspec.json.encode({"until": until}))

    async def close(self) -> None:
        await self._control.close()


def _check_addresses(update: RotationUpdate) -> None:
    """nginx would take a name for an address and fail only when a request comes."""
    problems = []
    for name, service in update.services.items():
        for index, endpoint in enumerate(service.endpoints if service else ()):
            if not _is_address(endpoint.address):
                path = f"/services/{name}/endpoints/{index}/address"
                problems.append(Problem(path=path, reason=f"{endpoint.address!r} is not an IP address"))
    if problems:
        raise InvalidDocument(problems)


def _is_address(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, text)  # ten times as fast, and there may be 10,000
    except (OSError, ValueError):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return False
    return True
