"""consumers: who calls through the gateway: set, deleted, given keys; and handed to the gateways with the rotation."""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from coldchain.control.sealing import known_cipher
from coldchain.control.state import State
from coldchain.documents.access_rules import CONSUMER_NAME, CONSUMER_SYNTAX
from coldchain.model.consumer import ConsumerKey, KeptConsumer, KeyUse
from coldchain.model.errors import Conflict, InvalidDocument, NotFound, Problem, Rejected
from coldchain.model.gateway_resource import ApiKeyDigest, Consumer, SharedSecret
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock

PREFIX = "cck"
"""Every API key begins with it, so that one that lies somewhere by mistake is known for what it is."""
SECRET_BYTES = 32
ID_BYTES = 6
KEYS_MAX = 20
GROUPS_MAX = 50
LIFE_SECONDS_MAX = 10 * 366 * 86400.0

log = structlog.get_logger(__name__)


class Consumers:
    """API keys are 256 random bits: nobody guesses one, so SHA-256 hides them well. Secrets for signing go to gateways
    by `resources` alone; without a cipher there are none."""

    def __init__(self, state: State, clock: Clock, cipher: Cipher | None) -> None:
        self._state = state
        self._clock = clock
        self._cipher = cipher

    async def put(self, name: str, groups: Sequence[str], caller: str) -> tuple[KeptConsumer, bool]:
        """There is such a consumer, with these groups and the keys that he has; and whether he is new. Raises
        InvalidDocument."""
        if problems := _problems(name, groups):
            raise InvalidDocument(problems)
        async with self._state.lock:
            await self._state.fresh()
            known = self._state.consumers.get(name)
            kept = KeptConsumer(
                name=name,
                groups=tuple(dict.fromkeys(groups)),
                keys=known.keys if known else (),
                changed_at=self._clock.now(),
                cause=f"set by {caller}",
            )
            await self._state.commit([kept])
            return kept, known is None

    async def delete(self, name: str) -> None:
        """Nothing that he shows is good for anything from now on. Raises NotFound."""
        async with self._state.lock:
            await self._state.fresh()
            await self._state.commit([], [self._known(name)])

    async def add_key(self, name: str, use: KeyUse, life_seconds: float | None, caller: str) -> tuple[ConsumerKey, str]:
        """One more key, and its text, which nobody can ask for again. Those before it go on. Raises InvalidDocument,
        NotFound, Conflict."""
        if life_seconds is not None and not 0 < life_seconds <= LIFE_SECONDS_MAX:
            reason = "must be more than 0 and at most ten years"
            raise InvalidDocument([Problem(path="/expiresAfterSeconds", reason=reason)])
        async with self._state.lock:
            await self._state.fresh()
            known = self._known(name)
            if len(known.keys) >= KEYS_MAX:
                raise Conflict(f"Consumer '{name}' has {KEYS_MAX} keys", todo="Revoke one that is not used any more.")
            now, key_id = self._clock.now(), secrets.token_hex(ID_BYTES)
            text = secrets.token_urlsafe(SECRET_BYTES)
            key = ConsumerKey(
                id=key_id,
                use=use,
                created_at=now,
                expires_at=None if life_seconds is None else now + life_seconds,
                cause=f"made by {caller}",
            )
            if use == "api":
                text = f"{PREFIX}_{key_id}_{text}"
                key = msgspec.structs.replace(key, digest=hashlib.sha256(text.encode()).hexdigest())
            else:
                key = _sealed(name, key, text, known_cipher(self._cipher))
            await self._state.commit([msgspec.structs.replace(known, keys=(*known.keys, key))])
            return key, text

    async def revoke_key(self, name: str, key_id: str) -> None:
        """From now on the key is nobody's. Raises NotFound."""
        async with self._state.lock:
            await self._state.fresh()
            known = self._known(name)
            kept = tuple(one for one in known.keys if one.id != key_id)
            if len(kept) == len(known.keys):
                raise NotFound(f"Consumer '{name}' has no key '{key_id}'", todo="`coldchain consumer show` has all.")
            await self._state.commit([msgspec.structs.replace(known, keys=kept)])

    def resources(self) -> list[Consumer]:
        """As gateways have them. A secret that cannot be read is left out, and the log says so."""
        return [self._resource(one) for one in self._state.consumers.values()]

    def _resource(self, one: KeptConsumer) -> Consumer:
        found = []
        for key in one.keys:
            if key.use == "api":
                continue
            try:
                text = known_cipher(self._cipher).open(sealed_as(one.name, key), key.sealed_by, key.sealed)
            except Rejected as error:
                log.warning("a consumer's secret is of no use", consumer=one.name, key=key.id, error=str(error))
                continue
            value = base64.b64encode(text.encode()).decode()
            found.append(SharedSecret(id=key.id, use=key.use, value=value, expires_at=key.expires_at))
        digests = (ApiKeyDigest(digest=key.digest, expires_at=key.expires_at) for key in one.keys if key.use == "api")
        return Consumer(name=one.name, groups=one.groups, api_keys=tuple(digests), secrets=tuple(found))

    def _known(self, name: str) -> KeptConsumer:
        known = self._state.consumers.get(name)
        if known is None:
            raise NotFound(f"Consumer '{name}' does not exist", todo="`coldchain consumer list` has all.")
        return known


def sealed_as(consumer: str, key: ConsumerKey) -> str:
    """To what a secret is bound: never to be exchanged with that of another consumer, or for another use."""
    return f"consumer/{consumer}/{key.use}/{key.id}"


def opened(consumer: KeptConsumer, cipher: Cipher) -> dict[str, str]:
    """The texts of his sealed keys by their ids."""
    return {
        key.id: cipher.open(sealed_as(consumer.name, key), key.sealed_by, key.sealed)
        for key in consumer.keys
        if key.sealed
    }


def sealed_again(consumer: KeptConsumer, texts: Mapping[str, str], cipher: Cipher) -> KeptConsumer:
    """With these keys sealed by the cipher's present one."""
    keys = tuple(
        _sealed(consumer.name, key, texts[key.id], cipher) if key.id in texts else key for key in consumer.keys
    )
    return msgspec.structs.replace(consumer, keys=keys)


def _sealed(consumer: str, key: ConsumerKey, text: str, cipher: Cipher) -> ConsumerKey:
    sealed = cipher.seal(sealed_as(consumer, key), text)
    return msgspec.structs.replace(key, sealed=sealed, sealed_by=cipher.key_id)


def _problems(name: str, groups: Sequence[str]) -> list[Problem]:
    named = [("/name", name), *((f"/groups/{position}", group) for position, group in enumerate(groups))]
    found = [Problem(path=path, reason=CONSUMER_SYNTAX) for path, text in named if not CONSUMER_NAME.fullmatch(text)]
    if len(groups) > GROUPS_MAX:
        found.append(Problem(path="/groups", reason=f"must be at most {GROUPS_MAX}"))
    return found
