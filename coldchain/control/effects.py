"""effects: carries out, beside the reconciler's loop, what was decided; one effect of a kind per object at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from coldchain.model.errors import ColdchainError
from coldchain.ports.clock import Clock

RETRY_SECONDS_MAX = 30.0
KINDS = ("prepare", "launch", "kill", "forget")

log = structlog.get_logger(__name__)


class Effect:
    """How far an effect got. `error` of the last try; `again_at`: monotonic time before which it is not tried again."""

    def __init__(self) -> None:
        self.running: asyncio.Task[None] | None = None
        self.error: ColdchainError | None = None
        self.again_at = 0.0
        self.tries = 0


class Effects:
    """Runs coroutines by key. Asking for a key that runs, or that ran a moment ago, does nothing, so decisions may
    ask as often as they look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._effects: dict[tuple[str, str], Effect] = {}

    def run(
        self,
        kind: str,
        name: str,
        work: Callable[[], Awaitable[object]],
        done: Callable[[], None],
        hold_seconds: float = 0.0,
    ) -> None:
        """Start `work` unless it runs or must wait; call `done` at its end. After a success it is not tried again for
        `hold_seconds`; after an error for as long as the error says, doubled with each try."""
        effect = self._effects.setdefault((kind, name), Effect())
        if effect.running is None and self._clock.monotonic() >= effect.again_at:
            effect.running = asyncio.create_task(self._carry_out(kind, name, effect, work, done, hold_seconds))

    async def _carry_out(
        self,
        kind: str,
        name: str,
        effect: Effect,
        work: Callable[[], Awaitable[object]],
        done: Callable[[], None],
        hold_seconds: float,
    ) -> None:
        try:
            await work()
            effect.error, effect.tries = None, 0
            effect.again_at = self._clock.monotonic() + hold_seconds
        except ColdchainError as error:
            effect.error = error
            effect.tries += 1
            delay = min(RETRY_SECONDS_MAX, (error.retry_seconds or 1.0) * 2.0 ** min(effect.tries - 1, 10))
            effect.again_at = self._clock.monotonic() + delay
            log.warning("failed, will be tried again", what=kind, of=name, error=str(error), again_in_seconds=delay)
        finally:
            effect.running = None
            done()

    def pending(self, kind: str, name: str) -> bool:
        """True while it runs."""
        effect = self._effects.get((kind, name))
        return effect is not None and effect.running is not None

    def error(self, kind: str, name: str) -> ColdchainError | None:
        """Of the last try; None when it went well or was not tried."""
        effect = self._effects.get((kind, name))
        return effect.error if effect else None

    def forget(self, name: str) -> None:
        """The object is gone: its effects are of no interest any more."""
        for kind in KINDS:
            effect = self._effects.get((kind, name))
            if effect is not None and effect.running is None:
                del self._effects[kind, name]

    async def stop(self) -> None:
        """Cancel what runs; the next controller asks for it again."""
        running = [effect.running for effect in self._effects.values() if effect.running is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
