"""FakePacketFilter: a packet filter that keeps what it was given, and connections that tests let stand."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.ruleset import Connection, Ruleset


class FakePacketFilter:
    """`applied`: what it has, None before the first. `times`: how often it was told.
    `away`: it does not answer. `refuses`: what it says of the next ruleset. `lost`: which of its answers about
    connections fail, each once: `connections` before, `cut` after half of it is done. `counted`: packets by counter, of
    those that it has."""

    def __init__(self) -> None:
        self.applied: Ruleset | None = None
        self.times = 0
        self.standing: list[Connection] = []
        self.docker_forwards = 0
        self.away = False
        self.refuses = ""
        self.lost: set[str] = set()
        self.counted: dict[str, int] = {}
        self._touched = asyncio.Event()

    async def apply(self, ruleset: Ruleset, before: Ruleset | None) -> None:
        self._answer()
        refused, self.refuses = self.refuses, ""
        if not refused and before is not None and before != self.applied:
            refused = "No such file or directory"
        if refused:
            raise Rejected(f"nft: {refused}")
        if before is None:
            self.touch()
        self.applied = ruleset
        self.times += 1

    async def drops(self) -> Mapping[str, int]:
        self._answer()
        if self.applied is None:
            return {}
        rules = (*self.applied.rules, *self.applied.between, *self.applied.to_machine)
        names = [*(one.counter for one in rules if one.counter), "spoofed"]
        return {name: self.counted.get(name, 0) for name in names}

    async def let_docker_forward(self) -> None:
        self._answer()
        self.docker_forwards += 1

    def touch(self) -> None:
        """Somebody makes chains of his own, or has taken ours."""
        self._touched.set()

    async def chain_changes(self) -> AsyncIterator[None]:
        self._answer()
        while True:
            await self._touched.wait()
            self._touched.clear()
            yield

    async def connections(self) -> Sequence[Connection]:
        self._answer()
        self._lose("connections")
        return list(self.standing)

    async def cut(self, connections: Iterable[Connection]) -> None:
        self._answer()
        gone = list(connections)
        if "cut" in self.lost:
            gone = gone[: len(gone) // 2]
        self.standing = [one for one in self.standing if one not in gone]
        self._lose("cut")

    def _lose(self, answer: str) -> None:
        if answer in self.lost:
            self.lost.remove(answer)
            raise Rejected("conntrack: Operation failed: Device or resource busy")

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("nft cannot be run")
