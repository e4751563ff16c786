"""crashes: a move of a platform, with the controller killed or the store failing at every single write of it."""

from collections.abc import Awaitable, Callable, Sized
from dataclasses import dataclass

from coldchain.model.errors import ColdchainError
from coldchain.testing.faulty_store import Fault
from coldchain.testing.platform import Platform, run

Move = Callable[[Platform], Awaitable[object]]
Settled = Callable[[Platform], Awaitable[dict[str, object]]]


@dataclass(frozen=True, kw_only=True)
class Crashes:
    """`begin` brings a platform to rest, and says how many writes that took. `settled` waits until nothing is left to
    do after the move, and says what then stands. `recorded` has a record for each move that got into the store, the
    one that `begin` makes included. `prepare`: as for `run`."""

    begin: Callable[[Platform], Awaitable[int]]
    settled: Settled
    recorded: Callable[[Platform], Sized]
    gateways: int = 1
    seed: int = 1
    prepare: Callable[[Platform], None] = lambda platform: None

    def fault_free(self, move: Move) -> tuple[dict[str, object], int]:
        """Where a move ends, and how many writes it takes."""
        found: list[tuple[dict[str, object], int]] = []

        async def program(platform: Platform) -> None:
            before = await self.begin(platform)
            await move(platform)
            found.append((await self.settled(platform), platform.store.writes - before))

        run(program, self.seed, gateways=self.gateways, prepare=self.prepare)
        return found[0]

    def killed_at_each_write(self, move: Move) -> None:
        """Fails unless it ends as without a kill, whether the write took place or not."""
        expected, writes = self.fault_free(move)
        assert writes > 4

        for number in range(1, writes + 1):
            for fault in ("unavailable", "lost reply"):

                async def program(platform: Platform, number: int = number, fault: Fault = fault) -> None:
                    crash_at = await self.begin(platform) + number
                    # The controller sees nothing any more from the moment at which it is killed.
                    platform.store.fault = lambda write, changes: fault if write >= crash_at else None
                    answered = await asked(platform, move)
                    await platform.until(lambda: platform.store.writes >= crash_at)
                    await platform.kill()
                    platform.store.fault = lambda write, changes: None
                    await platform.start()
                    if answered is None and len(self.recorded(platform)) == 1:
                        await move(platform)  # it never got into the store, and whoever asked was told so
                    assert await self.settled(platform) == expected, f"{fault} at write {number}"

                run(program, self.seed, gateways=self.gateways, prepare=self.prepare)

    def failing_at_each_write(self, move: Move, fault: Fault) -> None:
        """Fails unless it ends as without the fault of the store; the first write, of whoever asks, is not struck."""
        expected, writes = self.fault_free(move)

        for number in range(2, writes + 1):

            async def program(platform: Platform, number: int = number) -> None:
                at = await self.begin(platform) + number
                platform.store.fault = lambda write, changes: fault if write == at else None
                await move(platform)
                assert await self.settled(platform) == expected, f"{fault} at write {number}"

            run(program, self.seed, gateways=self.gateways, prepare=self.prepare)


async def asked(platform: Platform, move: Move) -> object | None:
    """What the move answers; None where it could not."""
    try:
        return await move(platform)
    except ColdchainError:
        return None
