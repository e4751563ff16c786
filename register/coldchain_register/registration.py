"""registration: the life of one registration, with a thread of its own for heartbeats."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType, TracebackType
from typing import Any

from coldchain_register.client import RegistryClient, RegistryRefused, RegistryUnavailable
from coldchain_register.settings import Settings

FIRST_SECONDS = 0.5
"""Between heartbeats until the app is well and the registry has taken one."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)

Health = Callable[[], bool]
"""Whether the app can serve; what it raises is a no, with its words. It is asked in another thread."""

log = logging.getLogger(__name__)


def always() -> bool:
    """The health of an app that has nothing to say: while it runs it is well."""
    return True


class Registration:
    """Begins with `start`, or as a context. `settings` None: as the environment says, and nothing at all where that
    says nothing, so that the same program runs anywhere."""

    def __init__(self, health: Health = always, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_environment()
        self._health = health
        self._client = RegistryClient(self.settings) if self.settings else None
        self._lock = threading.Lock()  # so that nothing is registered anew after the mark
        self._ended = threading.Event()
        self._hurried = threading.Event()
        self._heart: threading.Thread | None = None
        self._leaving = False
        self._releasing = False
        self._released = False
        self._previous: dict[int, Any] = {}
        self._said = ""

    def start(self) -> None:
        """Register, and send heartbeats from now on. Does not block: a registry that is away is asked again."""
        if self._client is not None and self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="coldchain-heartbeat", daemon=True)
            self._heart.start()

    def drain(self) -> None:
        """Mark it as out of service, and wait until those who look there have let go. Not when somebody else had marked
        it, as the platform does before it stops an instance: he has waited."""
        if self._client is None or self.settings is None:
            return
        with self._lock:
            if self._leaving:
                return
            self._leaving = True
            try:
                if self._client.is_marked():
                    return
                self._client.mark()
            except RegistryRefused:
                return  # not registered: nobody knows it
            except RegistryUnavailable as error:
                self._say(str(error))
        self._hurried.wait(self.settings.settle_seconds)

    def stop(self) -> None:
        """No more heartbeats, and no registration. To be called more than once, if need be."""
        if self._client is None or self._ended.is_set():
            return
        with self._lock:
            self._ended.set()
            self._leaving = True
            for _ in range(2):
                try:
                    self._client.deregister()
                    break
                except RegistryRefused:
                    break  # not there
                except RegistryUnavailable as error:
                    self._say(str(error))

    def __enter__(self) -> Registration:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.drain()
        self.stop()

    def end_on(self, *numbers: signal.Signals) -> None:
        """Of these signals (SIGTERM and SIGINT) the program hears what it would have heard, only after `drain`; and is
        killed when it has not ended after the grace. A second one does not wait any longer. In the main thread only,
        after the program or its framework has set its own handlers; not for those of an asyncio loop."""
        for number in numbers or SIGNALS:
            self._previous[number] = signal.signal(number, self._signalled)

    def release(self, then: Callable[[], None]) -> None:
        """Drain in another thread, then call `then` there; called again, wait no longer."""
        if self._releasing:
            self._hurried.set()
            return
        self._releasing = True
        threading.Thread(target=self._release, args=(then,), name="coldchain-drain", daemon=True).start()

    def _release(self, then: Callable[[], None]) -> None:
        self.drain()
        if self.settings is not None:
            killer = threading.Timer(self.settings.grace_seconds, self._kill)
            killer.daemon = True
            killer.start()
        self._released = True
        then()

    def _kill(self) -> None:
        log.error("still there after the grace: killed")
        self.stop()
        os.kill(os.getpid(), signal.SIGKILL)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self._released:
            main = threading.main_thread().ident
            assert main is not None, "the main thread runs this"
            self.release(lambda: signal.pthread_kill(main, number))
            return
        previous = self._previous[number]
        if callable(previous):
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            self.stop()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _beat(self) -> None:
        assert self.settings is not None, "started without a registry"
        self._tell(self._register)
        usual = self.settings.ttl_seconds / 3
        while not self._ended.is_set():
            well, note = self._ask()
            told = self._tell(partial(self._report, well=well, note=note))
            self._ended.wait(usual if well and told else min(FIRST_SECONDS, usual))

    def _ask(self) -> tuple[bool, str]:
        try:
            return bool(self._health()), ""
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"

    def _register(self) -> None:
        assert self._client is not None, "started without a registry"
        if not self._leaving:
            self._client.register()

    def _report(self, *, well: bool, note: str) -> None:
        assert self._client is not None, "started without a registry"
        try:
            self._client.report(well=well, note=note)
        except RegistryRefused:
            if self._leaving:
                raise
            self._client.register()  # it has lost us, such as by a restart
            self._client.report(well=well, note=note)

    def _tell(self, call: Callable[[], None]) -> bool:
        with self._lock:
            if self._ended.is_set():
                return False
            try:
                call()
            except (RegistryRefused, RegistryUnavailable) as error:
                self._say(str(error))
                return False
        self._said = ""
        return True

    def _say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            with contextlib.suppress(Exception):
                log.warning("%s", words)
