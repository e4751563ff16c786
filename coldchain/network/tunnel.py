"""tunnel: VXLAN between segments, by iproute2.

Nothing is learnt and nothing flooded: the ends of all others are known, so a packet goes to the one node whose address
BIRD has as the next hop. What containers send to those nodes themselves takes the tunnel by a table of its own.
"""

import ipaddress
import json
from collections.abc import Iterable
from typing import Any

from coldchain.model.errors import Unavailable
from coldchain.model.route_plan import Tunnel
from coldchain.network.programs import run
from coldchain.ports.tunnel import TUNNEL

NETWORK_ID = 4098
PORT = 8475
"""UDP; not that of Docker's overlay networks, which may be on the same machine."""
TABLE = 8475
PRIORITY = 8475
"""Of the rules by which containers' packets look into that table, before the main one."""

_FAMILIES = (4, 6)


class VxlanTunnels:
    """Implements ports.tunnel.Tunnels. Needs root."""

    async def apply(self, tunnel: Tunnel | None) -> None:
        pools = tunnel.pools if tunnel is not None else ()
        await self._rules(pools)
        device = await self._device()
        if tunnel is None:
            if device is not None:
                await _command("ip", "link", "delete", TUNNEL)
            return
        if device is not None and not _is_as_wanted(device, tunnel):
            await _command("ip", "link", "delete", TUNNEL)
            device = None
        if device is None:
            await self._make(tunnel)
        await self._ends(tunnel)

    async def _device(self) -> dict[str, Any] | None:
        found = await _ask("ip", "-details", "-json", "link", "show", "type", "vxlan")
        return next((one for one in found if one.get("ifname") == TUNNEL), None)

    async def _make(self, tunnel: Tunnel) -> None:
        below = ("dev", tunnel.interface) if tunnel.interface else ()
        kind = ("type", "vxlan", "id", str(NETWORK_ID), "dstport", str(PORT), "local", tunnel.address, "nolearning")
        await _command("ip", "link", "add", TUNNEL, "address", tunnel.mac, *kind, *below)
        # Nodes speak to containers from the address of their own link: the way back is another than the way here.
        await _command("sysctl", "-q", "-w", f"net.ipv4.conf.{TUNNEL}.rp_filter=2")
        await _command("ip", "link", "set", TUNNEL, "up")

    async def _ends(self, tunnel: Tunnel) -> None:
        """Adds what is missing before it takes away what is too much; what stays is not touched by either."""
        neighbors = {(one.address, one.mac) for one in tunnel.neighbors}
        neighbors |= {(one.address6, one.mac) for one in tunnel.neighbors if one.address6}
        ends = {(one.mac, one.address) for one in tunnel.neighbors}
        for address, mac in sorted(neighbors):
            await _command("ip", "neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", TUNNEL)
            via = ("via", address, "dev", TUNNEL, "onlink", "table", str(TABLE))
            await _command("ip", _family(address), "route", "replace", address, *via)
        for mac, address in sorted(ends):
            await _command("bridge", "fdb", "replace", mac, "dev", TUNNEL, "dst", address, "self", "permanent")
        await self._forget(neighbors, ends)

    async def _forget(self, neighbors: set[tuple[str, str]], ends: set[tuple[str, str]]) -> None:
        wanted = {address for address, _ in neighbors}
        for version in _FAMILIES:
            show = ("ip", f"-{version}", "-json", "neigh", "show", "dev", TUNNEL, "nud", "permanent")
            for one in await _ask(*show):
                if one["dst"] not in wanted and not ipaddress.ip_address(one["dst"]).is_multicast:
                    await _command("ip", "neigh", "delete", one["dst"], "dev", TUNNEL)
            for one in await _ask("ip", f"-{version}", "-json", "route", "show", "table", "all", "dev", TUNNEL):
                if one.get("table") == str(TABLE) and one["dst"] not in wanted:
                    await _command("ip", f"-{version}", "route", "delete", one["dst"], "table", str(TABLE))
        for one in await _ask("bridge", "-json", "fdb", "show", "dev", TUNNEL):
            if "dst" in one and (one["mac"], one["dst"]) not in ends:
                await _command("bridge", "fdb", "delete", one["mac"], "dev", TUNNEL, "dst", one["dst"], "self")

    async def _rules(self, pools: Iterable[str]) -> None:
        for version in _FAMILIES:
            wanted = {one for one in pools if (":" in one) == (version == 6)}
            present = {
                f"{one['src']}/{one['srclen']}"
                for one in await _ask("ip", f"-{version}", "-json", "rule", "show")
                if one["priority"] == PRIORITY and "srclen" in one
            }
            where = ("lookup", str(TABLE), "priority", str(PRIORITY))
            for pool in sorted(wanted - present):
                await _command("ip", f"-{version}", "rule", "add", "from", pool, *where)
            for pool in sorted(present - wanted):
                await _command("ip", f"-{version}", "rule", "delete", "from", pool, *where)


def _is_as_wanted(device: dict[str, Any], tunnel: Tunnel) -> bool:
    details = device.get("linkinfo", {}).get("info_data", {})
    return (
        details.get("id") == NETWORK_ID
        and details.get("port") == PORT
        and details.get("local") == tunnel.address
        and device.get("address") == tunnel.mac
        and (not tunnel.interface or details.get("link") == tunnel.interface)
        and "UP" in device.get("flags", ())
    )


def _family(address: str) -> str:
    return "-6" if ":" in address else "-4"


async def _ask(*command: str) -> list[dict[str, Any]]:
    """What it says in JSON; some say nothing for an empty list."""
    output = await _command(*command)
    found: list[dict[str, Any]] = json.loads(output) if output.strip() else []
    return found


async def _command(*command: str) -> str:
    status, output, errors = await run(command)
    if status != 0:
        raise Unavailable(
            f"the tunnel between segments cannot be made: {' '.join(command)}: {errors.strip()}",
            todo="netd needs root, iproute2 and the module vxlan",
        )
    return output
