"""TCP of a simulated loop: what is written arrives later, in pieces of any size and in its order, or never.

The seed of the loop decides how late and in which pieces. Addresses are names: whoever listens there is found.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from coldchain.testing.simulated_loop import SimulatedLoop

HIGH_WATER_BYTES = 65536
"""So much on its way, and whoever writes is asked to wait."""
DELAY_SECONDS_MAX = 0.002


class SimulatedNetwork(SimulatedLoop):
    """The loop, with the part of asyncio that makes connections. `connections`: all that were made, from the side of
    who made them."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.connections: list[End] = []
        self._listening: dict[tuple[str, int], Callable[[], asyncio.Protocol]] = {}
        self._ports = itertools.count(20_000)

    # Less than asyncio's: exactly what the clients and servers of the simulations use.

    async def create_server(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> "Listener":
        address = (host, port or next(self._ports))
        if address in self._listening:
            raise OSError(f"{address[0]}:{address[1]} is taken")
        self._listening[address] = factory
        return Listener(address, lambda: self._listening.pop(address, None))

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> "tuple[End, asyncio.Protocol]":
        await self.at(self.time() + self.random.random() * DELAY_SECONDS_MAX)
        accept = self._listening.get((host, port))
        if accept is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        ours, theirs = End(self, (host, port)), End(self, ("10.0.0.1", next(self._ports)))
        ours.other, theirs.other = theirs, ours
        theirs.protocol, ours.protocol = accept(), factory()
        theirs.protocol.connection_made(theirs)
        ours.protocol.connection_made(ours)
        self.connections.append(ours)
        return ours, ours.protocol


class Listener:
    """What `create_server` gives."""

    def __init__(self, address: tuple[str, int], close: Callable[[], object]) -> None:
        self._address = address
        self._close = close

    @property
    def sockets(self) -> "list[Listener]":
        return [self]

    def getsockname(self) -> tuple[str, int]:
        return self._address

    def close(self) -> None:
        self._close()


class End(asyncio.Transport):
    """One end of a connection. `cut`: what either end writes goes nowhere, and nobody is told. `writes`: how often it
    was asked to write."""

    other: "End"
    protocol: asyncio.Protocol

    def __init__(self, loop: SimulatedNetwork, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer})
        self._loop = loop
        self._coming: deque[bytes | None] = deque()
        """To this end; None: no more will come."""
        self._on_its_way = False
        self._reading = True
        self._closing = False
        self._gone = False
        self._asked_to_wait = False
        self.cut = False
        self.writes = 0

    # As asyncio's

    def write(self, data: Any) -> None:
        self.writes += 1
        if self._closing or self.cut or not data:
            return
        self.other._put(bytes(data))
        if not self._asked_to_wait and self.other._waiting_bytes > HIGH_WATER_BYTES:
            self._asked_to_wait = True
            self.protocol.pause_writing()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if not self.cut:
            self.other._put(None)
        self._loop.call_soon(self._lose)

    def abort(self) -> None:
        if self._gone:
            return  # what was written before it was closed is on its way
        if not self.cut:
            self.other._coming.clear()
            self.other._put(None)
        self._closing = True
        self._loop.call_soon(self._lose)

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._hurry()

    # For tests

    def sever(self) -> None:
        self.cut = self.other.cut = True

    # What comes

    @property
    def _waiting_bytes(self) -> int:
        return sum(len(piece) for piece in self._coming if piece is not None)

    def _put(self, piece: bytes | None) -> None:
        self._coming.append(piece)
        self._hurry()

    def _hurry(self) -> None:
        if self._coming and self._reading and not self._on_its_way:
            self._on_its_way = True
            self._loop.call_later(self._loop.random.random() * DELAY_SECONDS_MAX, self._arrive)

    def _arrive(self) -> None:
        self._on_its_way = False
        if self._gone or self._closing or not self._reading or self.cut or not self._coming:
            return
        piece = self._coming.popleft()
        if piece is None:
            self._closing = True
            self._lose()
            return
        count = self._loop.random.choice((1, len(piece) // 2, len(piece))) or 1
        if rest := piece[count:]:
            self._coming.appendleft(rest)
        self.protocol.data_received(piece[:count])
        if self.other._asked_to_wait and self._waiting_bytes < HIGH_WATER_BYTES // 4:
            self.other._asked_to_wait = False
            self.other.protocol.resume_writing()
        self._hurry()

    def _lose(self) -> None:
        if not self._gone:
            self._gone = True
            self.protocol.connection_lost(None)
