"""wsgi: a WSGI app whose process registers itself. For one process: where a server has several workers, use
`coldchain-entry` before the server."""

from __future__ import annotations

import atexit
import contextlib
from typing import TypeVar

from coldchain_register.registration import Health, Registration, always
from coldchain_register.settings import Settings

App = TypeVar("App")


def registered(app: App, health: Health = always, settings: Settings | None = None) -> App:
    """The app, registered from now on until the process ends. The server hears of SIGTERM only after the mark and the
    settle time, and serves until then, if it has set its handlers before."""
    registration = Registration(health, settings)
    with contextlib.suppress(ValueError):  # not the main thread
        registration.end_on()
    registration.start()
    atexit.register(registration.stop)
    return app
