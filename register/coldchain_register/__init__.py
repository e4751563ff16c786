"""An app registers itself in Consul, or in what speaks the same: register, a heartbeat that carries the app's health,
and on SIGTERM: marked as out of service, a wait until those who look there have let go, the signal passed on, SIGKILL
after the grace, the registration taken away.

`Registration` for threads, `AsyncRegistration` for asyncio; `coldchain_register.asgi` and `.wsgi` for web frameworks.
All is told by the environment that the platform gives to apps with `registration: self`; without it nothing happens.
Nothing but the standard library is needed.
"""

from coldchain_register.asynchronous import AsyncRegistration
from coldchain_register.client import RegistryClient, RegistryRefused, RegistryUnavailable
from coldchain_register.registration import Registration
from coldchain_register.settings import Settings

__all__ = ["AsyncRegistration", "Registration", "RegistryClient", "RegistryRefused", "RegistryUnavailable", "Settings"]
