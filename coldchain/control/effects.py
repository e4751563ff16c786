"""effects: carries out, beside the reconciler's loop, what was decided; one effect of a kind per object at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.ports.clock import Clock

RETRY_SECONDS_MAX = 30.0

log = structlog.get_logger(__name__)


class Effect:
    """How far an effect got, on the monotonic clock. `error`: of the last try, which is repeated from `again_at` on."""

    __slots__ = ("again_at", "ended_at", "error", "running", "tries")

    def __init__(self) -> None:
        self.running: asyncio.Task[None] | None = None
        self.error: ColdchainError | None = None
        self.again_at = 0.0
        self.ended_at = 0.0
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
        *,
        limit_seconds: float,
        hold_seconds: float = 0.0,
    ) -> None:
        """Start `work` unless it runs or must wait; call `done` at its end. After a success it is not tried again for
        `hold_seconds`; after an error, or when the limit is over, for as long as the error says, doubled with each
        try."""
        effect = self._effects.setdefault((kind, name), Effect())
        if effect.running is None and self._clock.monotonic() >= effect.again_at:
            carrying_out = self._carry_out(kind, name, effect, work, done, limit_seconds, hold_seconds)
            effect.running = asyncio.create_task(carrying_out)

    async def _carry_out(
        self,
        kind: str,
        name: str,
        effect: Effect,
        work: Callable[[], Awaitable[object]],
        done: Callable[[], None],
        limit_seconds: float,
        hold_seconds: float,
    ) -> None:
        try:
            async with asyncio.timeout(limit_seconds):
                await work()
            effect.error, effect.tries = None, 0
            effect.again_at = self._clock.monotonic() + hold_seconds
        except TimeoutError:
            self._failed(kind, name, effect, Unavailable(f"{kind}: no answer in {limit_seconds:g} s"))
        except ColdchainError as error:
            self._failed(kind, name, effect, error)
        except Exception as error:
            log.exception("a bug of ours", what=kind, of=name)
            words = f"{kind} failed by a bug of ours: {type(error).__name__}: {error}"
            self._failed(kind, name, effect, ColdchainError(words, todo="The controller's log has the trace"))
        finally:
            effect.running = None
            effect.ended_at = self._clock.monotonic()
            done()

    def _failed(self, kind: str, name: str, effect: Effect, error: ColdchainError) -> None:
        effect.error = error
        effect.tries += 1
        delay = min(RETRY_SECONDS_MAX, (error.retry_seconds or 1.0) * 2.0 ** min(effect.tries - 1, 10))
        effect.again_at = self._clock.monotonic() + delay
        log.warning("failed, will be tried again", what=kind, of=name, error=str(error), again_in_seconds=delay)

    def unsettled(self, kind: str, name: str, since: float) -> bool:
        """True while it runs, or if it ended at `since` (monotonic seconds) or later."""
        effect = self._effects.get((kind, name))
        return effect is not None and (effect.running is not None or effect.ended_at >= since)

    def error(self, kind: str, name: str) -> ColdchainError | None:
        """Of the last try; None when it went well or was not tried."""
        effect = self._effects.get((kind, name))
        return effect.error if effect else None

    def forget(self, gone: Callable[[str], bool], before: float) -> None:
        """Drop what is known of objects that are gone, by their names, and of all that went well, ended before that
        moment, and may be asked for again: nobody could tell it from what never ran."""
        now = self._clock.monotonic()

        def dropped(key: tuple[str, str], effect: Effect) -> bool:
            if effect.running is not None:
                return False
            return gone(key[1]) or (effect.error is None and effect.ended_at < before and effect.again_at <= now)

        self._effects = {key: effect for key, effect in self._effects.items() if not dropped(key, effect)}

    async def stop(self) -> None:
        """Cancel what runs; the next controller asks for it again."""
        running = [effect.running for effect in self._effects.values() if effect.running is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
