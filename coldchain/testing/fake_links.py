"""FakeLinks: port Links in memory."""

from collections.abc import Sequence

from coldchain.model.errors import Unavailable
from coldchain.ports.network import Link


class FakeLinks:
    """`made`: the links by the name of the machine's end. `trouble`: what the kernel says from now on, if anything."""

    def __init__(self, interfaces: dict[str, int] | None = None) -> None:
        self.made: dict[str, Link] = {}
        self.trouble = ""
        self._interfaces = interfaces or {"eth0": 1500}

    async def add(self, link: Link) -> None:
        self._check()
        self.made[link.host] = link

    async def remove(self, host: str) -> None:
        self._check()
        self.made.pop(host, None)

    async def present(self) -> Sequence[str]:
        self._check()
        return sorted(self.made)

    async def mtu(self, interface: str) -> int:
        self._check()
        if interface not in self._interfaces:
            raise Unavailable(f"interface {interface} is not known: no such interface")
        return self._interfaces[interface]

    def _check(self) -> None:
        if self.trouble:
            raise Unavailable(self.trouble)
