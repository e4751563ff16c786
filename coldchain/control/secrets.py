"""secrets: set, listed, deleted, sealed by a new key; and opened for the tasks that ask for them, at their start."""

import asyncio

import msgspec

from coldchain.control.certificates import sealed_as
from coldchain.control.consumers import opened as opened_keys
from coldchain.control.consumers import sealed_again as consumer_sealed_again
from coldchain.control.sealing import known_cipher
from coldchain.control.state import State
from coldchain.documents import keys, stored
from coldchain.model.app import App
from coldchain.model.certificate import KeptCertificate
from coldchain.model.errors import ColdchainError, Conflict, NotFound, Problem, Rejected
from coldchain.model.secret import Secret, without_values
from coldchain.model.task import TaskStatus
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock
from coldchain.ports.store import Change, Entry, Store


class Secrets:
    """Values come in by `set` and go out by `filled` alone. Without a cipher there are none."""

    def __init__(self, store: Store, state: State, clock: Clock, cipher: Cipher | None) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._cipher = cipher

    async def set(self, name: str, value: str, caller: str) -> Secret:
        """Keep a value, in place of the one before. Tasks that run keep theirs; whoever starts from now on gets it."""
        cipher = known_cipher(self._cipher)
        async with self._state.lock:
            await self._state.fresh()
            sealed = cipher.seal(name, value)
            now, cause = self._clock.now(), f"set by {caller}"
            secret = Secret(name=name, key_id=cipher.key_id, sealed=sealed, changed_at=now, cause=cause)
            await self._state.commit([secret])
            return secret

    async def delete(self, name: str) -> None:
        """Raises Conflict where an app that is wanted asks for it."""
        async with self._state.lock:
            await self._state.fresh()
            if name not in self._state.secrets:
                raise NotFound(f"Secret '{name}' does not exist", todo="`coldchain secret list` has all.")
            if users := self.used_by(name):
                raise Conflict(f"Secret '{name}' is used by {', '.join(users)}", todo="Change or delete them first.")
            await self._state.commit([], [self._state.secrets[name]])

    async def rotate(self) -> int:
        """Seal everything by a fresh key and forget the others. Cut short it loses nothing: the old keys are forgotten
        last. Returns how many there are."""
        cipher = known_cipher(self._cipher)
        async with self._state.lock:
            await self._state.fresh()
            kept: dict[str, Secret | KeptCertificate] = dict(self._state.secrets)
            kept |= {sealed_as(one.name): one for one in self._state.certificates.values()}
            opened = {name: cipher.open(name, one.key_id, one.sealed) for name, one in kept.items()}
            consumers = [(one, opened_keys(one, cipher)) for one in self._state.consumers.values()]
            entry = await self._store.get(keys.MESOS_KEY)
            await asyncio.to_thread(cipher.add_key)
            again = [
                msgspec.structs.replace(one, key_id=cipher.key_id, sealed=cipher.seal(name, opened[name]))
                for name, one in kept.items()
            ]
            consumers_again = [consumer_sealed_again(one, texts, cipher) for one, texts in consumers]
            await self._state.commit([*again, *consumers_again])
            if entry is not None:
                await self._reseal(entry, cipher)
            await asyncio.to_thread(cipher.retire)
            return len(self._state.secrets)

    async def _reseal(self, entry: Entry, cipher: Cipher) -> None:
        """The key of executors too, so that they can be asked for logs after the next start. One that cannot be opened
        is made anew then."""
        kept = stored.decode(entry.value, Secret)
        try:
            value = cipher.open(kept.name, kept.key_id, kept.sealed)
        except Rejected:
            return
        again = msgspec.structs.replace(kept, key_id=cipher.key_id, sealed=cipher.seal(kept.name, value))
        await self._store.write([Change(key=entry.key, value=stored.encode(again), expected=entry.revision)])

    def used_by(self, name: str) -> list[str]:
        """The apps that ask for it, as they are wanted now."""
        return sorted(
            app.id for app in self._state.wanted_apps() if any(one.source == name for one in app.secrets.values())
        )

    def problems(self, app: App) -> list[Problem]:
        """The secrets that the app asks for and nobody has set."""
        return [
            Problem(
                path=f"/secrets/{key}/source",
                reason=f"there is no secret {one.source!r}: set it with `coldchain secret set {one.source}`",
            )
            for key, one in app.secrets.items()
            if one.source not in self._state.secrets
        ]

    def filled(self, app: App) -> tuple[App, tuple[str, ...]]:
        """The app with the values in its environment, for a start and nothing else; and the values. Raises Rejected."""
        if not app.secret_env:
            return app, ()
        values: dict[str, str] = {}
        for variable, key in app.secret_env.items():
            secret = self._state.secrets.get(app.secrets[key].source)
            if secret is None:
                raise Rejected(f"there is no secret {app.secrets[key].source}", todo="`coldchain secret set` sets it.")
            values[variable] = known_cipher(self._cipher).open(secret.name, secret.key_id, secret.sealed)
        return msgspec.structs.replace(app, env=app.env | values), tuple(values.values())

    def without_secrets(self, status: TaskStatus) -> TaskStatus:
        """What an engine says of a task, without the values that its app has now: a task that fails may have written
        its whole environment."""
        instance = self._state.instances.get(status.instance_id)
        if instance is None or not (status.log_tail or status.message):
            return status
        app = self._state.app_of(instance)
        if not app.secret_env:
            return status
        try:
            _, values = self.filled(app)
        except Rejected:
            return msgspec.structs.replace(status, log_tail=())
        tail = tuple(without_values(line, values) for line in status.log_tail)
        return msgspec.structs.replace(status, message=without_values(status.message, values), log_tail=tail)


def masked(error: ColdchainError, values: tuple[str, ...]) -> None:
    """Take the values out of what an engine or a runner says."""
    error.message, error.todo = without_values(error.message, values), without_values(error.todo, values)
    error.args = (error.message,)
