"""certificates: what the gateways show over TLS: set, listed, deleted, and handed to them with the rotation."""

import msgspec
import structlog

from coldchain.control.sealing import known_cipher
from coldchain.control.state import State
from coldchain.documents.certificate_file import read_certificate
from coldchain.model.certificate import KeptCertificate
from coldchain.model.errors import InvalidDocument, NotFound, Problem, Rejected
from coldchain.model.gateway_resource import Certificate
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock

log = structlog.get_logger(__name__)


class Certificates:
    """Keys come in by `set` and go to gateways by `resources` alone. Without a cipher there are none."""

    def __init__(self, state: State, clock: Clock, cipher: Cipher | None) -> None:
        self._state = state
        self._clock = clock
        self._cipher = cipher

    async def set(self, name: str, text: str, caller: str, *, default: bool) -> tuple[KeptCertificate, bool]:
        """Keep a certificate, in place of the one before, and whether it is new. Connections that are open go on with
        what they were shown. Raises InvalidDocument, Rejected."""
        cipher = known_cipher(self._cipher)
        found = read_certificate(text, self._clock.now())
        async with self._state.lock:
            await self._state.fresh()
            self._refuse_taken(name, found.domains)
            kept = KeptCertificate(
                name=name,
                domains=found.domains,
                chain=found.chain,
                key_id=cipher.key_id,
                sealed=cipher.seal(sealed_as(name), found.key),
                fingerprint=found.fingerprint,
                not_before=found.not_before,
                not_after=found.not_after,
                changed_at=self._clock.now(),
                cause=f"set by {caller}",
                default=default,
            )
            others = [one for one in self._state.certificates.values() if default and one.default and one.name != name]
            is_new = name not in self._state.certificates
            await self._state.commit([kept, *(msgspec.structs.replace(one, default=False) for one in others)])
            return kept, is_new

    async def delete(self, name: str) -> None:
        async with self._state.lock:
            await self._state.fresh()
            if name not in self._state.certificates:
                raise NotFound(f"Certificate '{name}' does not exist", todo="`coldchain certificate list` has all.")
            await self._state.commit([], [self._state.certificates[name]])

    def resources(self) -> list[Certificate]:
        """As gateways have them. One whose key cannot be read is left out, and the log says so."""
        found = []
        for one in self._state.certificates.values():
            try:
                key = known_cipher(self._cipher).open(sealed_as(one.name), one.key_id, one.sealed)
            except Rejected as error:
                log.warning("a certificate cannot be shown", certificate=one.name, error=str(error), todo=error.todo)
                continue
            found.append(Certificate(name=one.name, domains=one.domains, chain=one.chain, key=key, default=one.default))
        return found

    def _refuse_taken(self, name: str, domains: tuple[str, ...]) -> None:
        holders = {domain: one.name for one in self._state.certificates.values() for domain in one.domains}
        problems = [
            Problem(path="/certificate", reason=f"{domain} has certificate {holder!r}: set that one, or delete it")
            for domain in domains
            if (holder := holders.get(domain, name)) != name
        ]
        if problems:
            raise InvalidDocument(problems)


def sealed_as(name: str) -> str:
    """To what the key is bound: never to be exchanged with a secret of the same name."""
    return f"certificate/{name}"
