"""Ways from a program on one machine to one on another, as users have them: ours, and what they would take instead."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coldchain.testing.machines import Machine
from coldchain.testing.network_lab import IMAGE, NetworkLab

PORT = "7000"
MAPPED_PORT = "7001"
TUNNEL_NETWORK, TUNNEL_ADDRESSES = "10.99.0.0/24", ("10.99.0.11", "10.99.0.12")
_TUNNEL_MTU = "1450"


@dataclass(frozen=True)
class Way:
    """`prefix`: before what is run at the near end. At the other a talker answers at `address` and `port`."""

    name: str
    prefix: Sequence[str]
    address: str
    port: str = PORT

    def seconds(self, near: Machine, kind: str, count: int) -> float:
        """How long so many took."""
        return float(near.run(*self.prefix, kind, self.address, self.port, str(count)))


class Ways:
    """All of them, between the same two machines."""

    def __init__(self, network: NetworkLab) -> None:
        self._network = network
        self._talker = network.talker
        self._near, self._far = network["machine-1"], network["machine-2"]
        # What crosses a bridge is not a matter of rules: as on the bridges of Docker's own overlay.
        for machine in network.hosts:
            machine.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")

    async def all(self) -> list[Way]:
        return [self.machines(), self.bridge(), self.tunnel(), await self.ours()]

    def machines(self) -> Way:
        """From machine to machine, without any container."""
        self._far.start(self._talker, "serve", PORT)
        return Way("machines", [self._talker], self._far.address)

    def bridge(self) -> Way:
        """Docker's own bridge at both ends, and a mapped port."""
        self._container(self._far, "bridge", "serve", "--publish", f"{MAPPED_PORT}:{PORT}")
        self._container(self._near, "bridge", "wait")
        return Way("bridge", self._within("bridge"), self._far.address, MAPPED_PORT)

    def tunnel(self) -> Way:
        """A bridge on each machine, joined by VXLAN, as overlays do it."""
        for machine, other, address in zip(
            (self._near, self._far), (self._far, self._near), TUNNEL_ADDRESSES, strict=True
        ):
            gateway = f"10.99.0.{1 if machine is self._near else 2}"
            options = ["com.docker.network.bridge.name=tunnel0", f"com.docker.network.driver.mtu={_TUNNEL_MTU}"]
            made = [word for option in options for word in ("--opt", option)]
            machine.docker.run("network", "create", "--subnet", TUNNEL_NETWORK, "--gateway", gateway, *made, "tunnel")
            link = ["vxlan0", "type", "vxlan", "id", "99", "dstport", "4789", "remote", other.address, "dev", "eth0"]
            machine.run("ip", "link", "add", *link)
            machine.run("ip", "link", "set", "vxlan0", "mtu", _TUNNEL_MTU, "master", "tunnel0", "up")
            what = "wait" if machine is self._near else "serve"
            self._container(machine, "tunnel", what, "--network", "tunnel", "--ip", address)
        return Way("tunnel", self._within("tunnel"), TUNNEL_ADDRESSES[1])

    async def ours(self) -> Way:
        """An address of its own at both ends, and routes."""
        await self._network.run("machine-1", "ours")
        there = await self._network.run("machine-2", "ours", command=f"talker serve {PORT}")
        return Way("ours", self._within("ours"), there)

    def _container(self, machine: Machine, name: str, what: str, *options: str) -> None:
        words = ["talker", "serve", PORT] if what == "serve" else ["sleep", "100000"]
        mount = ["--volume", f"{self._talker}:/bin/talker:ro"]
        machine.docker.run("run", "--detach", "--name", name, *mount, *options, IMAGE, *words)

    def _within(self, name: str) -> list[str]:
        """The network of that container, entered by the same program as on the machine: what is compared is the way."""
        process = self._near.docker.run("inspect", "--format", "{{.State.Pid}}", name)
        return ["nsenter", f"--target={process}", "--net", "--", self._talker]


def call_seconds(metrics: str) -> float:
    """What netd has needed for Docker's calls until now, all together."""
    return sum(float(found) for found in re.findall(r"^coldchain_netd_call_seconds_total\{.*\} (\S+)$", metrics, re.M))
