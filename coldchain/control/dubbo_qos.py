"""dubbo_qos: asks the QoS servers of providers that leave, and knows who still leaves by himself."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
import structlog

from coldchain.control.state import State
from coldchain.decisions import dubbo_qos as decide
from coldchain.model.dubbo import Announced
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.instance import Instance
from coldchain.ports.clock import Clock
from coldchain.ports.dubbo_qos import DubboQos

TICK_SECONDS = 1.0
CALL_SECONDS = 5.0

log = structlog.get_logger(__name__)


class QosSwitch:
    """Of the providers of one registry. `changed()`: who is in its hand may be others now. Nothing of it outlives the
    controller: who was told already, and is announced no more, has nothing to be told."""

    def __init__(self, state: State, clock: Clock, qos: DubboQos | None, changed: Callable[[], None]) -> None:
        self._state = state
        self._clock = clock
        self._qos = qos
        self._changed = changed
        self._attempts: dict[str, decide.Attempt] = {}
        self._fallen: dict[str, str] = {}
        self._wake = asyncio.Event()

    def _place(self, instance: Instance) -> tuple[str, int] | None:
        """Where it is asked; None: its definition does not want that, or nobody here can."""
        if self._qos is None:
            return None
        return decide.place(self._state.app_of(instance), instance)

    def in_hand(self, instances: Iterable[Instance], announced: Announced) -> frozenset[str]:
        """The ids of those that leave by themselves; for all others it has to be done by configurators."""
        now = self._clock.monotonic()
        told = [one.id for one in decide.leaving(instances, announced) if self._place(one) is not None]
        # Who is announced no more is remembered until he has gone, so that he is not believed a second time.
        here = self._state.instances
        lasting = [name for name in self._attempts if name in here and here[name].live]
        self._attempts = decide.begun(self._attempts, dict.fromkeys((*lasting, *told)), now)
        self._fallen = {name: words for name, words in self._fallen.items() if name in self._attempts}
        found: set[str] = set()
        for name in told:
            words = decide.falls_back(self._attempts[name], now)
            if not words:
                found.add(name)
            elif name not in self._fallen:
                self._fallen[name] = words
                log.warning("a provider of Dubbo does not leave by its QoS: configurators do it", why=words)
        if found:
            self._wake.set()
        return frozenset(found)

    def words(self, instance: Instance) -> str:
        """How it is going with an instance that is still announced."""
        attempt = self._attempts.get(instance.id)
        if attempt is None:
            return ""
        if fallen := self._fallen.get(instance.id):
            return f"its QoS was no help ({fallen}), so that configurators are used"
        if attempt.answered_at is not None:
            return "its QoS says that it is offline"
        return f"its QoS is asked to go offline{f' ({attempt.trouble})' if attempt.trouble else ''}"

    async def online(self, instance: Instance) -> None:
        """Have an instance that stays, and was switched off, announce itself again. Who has no QoS server, or one that
        does not do it, is left as he is: consumers are let back in all the same."""
        where = self._place(instance)
        if self._qos is None or where is None:
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._qos.online(*where)
        except (ColdchainError, TimeoutError) as error:
            log.warning("a provider of Dubbo was not put online by its QoS", error=str(error) or "no answer")

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            asked = decide.to_ask(self._attempts, self._clock.monotonic())
            await asyncio.gather(*(self._ask(name) for name in asked))
            # Until the next look: somebody may answer late, or be announced although he said that he has gone.
            await self._clock.sleep(TICK_SECONDS)
            self._changed()

    async def _ask(self, name: str) -> None:
        instance = self._state.instances.get(name)
        where = self._place(instance) if instance is not None else None
        if self._qos is None or where is None:
            return
        before = self._attempts[name]
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._qos.offline(*where)
            after = msgspec.structs.replace(before, answered_at=self._clock.monotonic())
        except TimeoutError:
            after = msgspec.structs.replace(before, trouble=f"no answer in {CALL_SECONDS:g} s")
        except Unavailable as error:
            after = msgspec.structs.replace(before, trouble=str(error))
        except ColdchainError as error:
            after = msgspec.structs.replace(before, refused=str(error))
        if name in self._attempts:
            self._attempts[name] = after
