"""certificate_file: a certificate with its chain and its key, as one text of PEM. No error shows a part of the key."""

import re
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from coldchain.model.errors import InvalidDocument, Problem

BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
RSA_BITS_MIN = 2048
CHAIN_LENGTH_MAX = 10


class CertificateFile(NamedTuple):
    """What is in it: `chain` and `key` as PEM; `fingerprint` is the SHA-256 of the certificate, hexadecimal; seconds
    since the epoch."""

    domains: tuple[str, ...]
    chain: str
    key: str
    fingerprint: str
    not_before: float
    not_after: float


def read_certificate(text: str, now: float) -> CertificateFile:
    """The first certificate is the one to be shown, each further one signed the one before. The key stands anywhere.
    Raises InvalidDocument with everything that is wrong."""
    blocks = [(found[1], found[0]) for found in BLOCK.finditer(text)]
    chain, problems = _chain([block for kind, block in blocks if kind == "CERTIFICATE"])
    key, found = _key([block for kind, block in blocks if kind.endswith("PRIVATE KEY")])
    problems += found
    if chain:
        problems += [*_order(chain), *_time(chain[0], now), *_domains(chain[0])]
    if chain and key is not None and _public(key.public_key()) != _public(chain[0].public_key()):
        problems.append(_problem("/key", "belongs to another certificate than the first one given"))
    if problems or key is None:
        raise InvalidDocument(problems)
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return CertificateFile(
        domains=_names(chain[0]),
        chain="".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain),
        key=pem.decode(),
        fingerprint=chain[0].fingerprint(hashes.SHA256()).hex(),
        not_before=chain[0].not_valid_before_utc.timestamp(),
        not_after=chain[0].not_valid_after_utc.timestamp(),
    )


def _problem(path: str, reason: str) -> Problem:
    return Problem(path=path, reason=reason)


def _chain(blocks: list[str]) -> tuple[list[x509.Certificate], list[Problem]]:
    if not blocks:
        return [], [_problem("/certificate", "there is none: a block `BEGIN CERTIFICATE` in PEM")]
    if len(blocks) > CHAIN_LENGTH_MAX:
        return [], [_problem("/certificate", f"has a chain of more than {CHAIN_LENGTH_MAX}")]
    chain = []
    for number, block in enumerate(blocks):
        try:
            chain.append(x509.load_pem_x509_certificate(block.encode()))
        except ValueError:
            return [], [_problem(f"/certificate/{number}", "cannot be read")]
    return chain, []


def _key(blocks: list[str]) -> tuple[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None, list[Problem]]:
    if len(blocks) != 1:
        reason = "there is none: a block `BEGIN PRIVATE KEY` in PEM" if not blocks else "there are several"
        return None, [_problem("/key", reason)]
    try:
        key = serialization.load_pem_private_key(blocks[0].encode(), None)
    except TypeError:
        return None, [_problem("/key", "is encrypted: take its password away (`openssl pkey`)")]
    except (ValueError, UnsupportedAlgorithm):
        return None, [_problem("/key", "cannot be read")]
    if isinstance(key, rsa.RSAPrivateKey):
        weak = key.key_size < RSA_BITS_MIN
        return key, [_problem("/key", f"has {key.key_size} bits: at least {RSA_BITS_MIN}")] if weak else []
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key, []
    return None, [_problem("/key", "is neither RSA nor of an elliptic curve (P-256, P-384), which browsers ask for")]


def _order(chain: list[x509.Certificate]) -> list[Problem]:
    return [
        _problem(f"/certificate/{number}", "did not sign the one before it: first the certificate, then who signed it")
        for number in range(1, len(chain))
        if chain[number - 1].issuer != chain[number].subject
    ]


def _time(one: x509.Certificate, now: float) -> list[Problem]:
    begin, end = one.not_valid_before_utc, one.not_valid_after_utc
    if end.timestamp() <= now:
        return [_problem("/certificate", f"ended on {end:%Y-%m-%d %H:%M} UTC")]
    if begin.timestamp() > now:
        return [_problem("/certificate", f"begins on {begin:%Y-%m-%d %H:%M} UTC only")]
    return []


def _domains(one: x509.Certificate) -> list[Problem]:
    return [] if _names(one) else [_problem("/certificate", "names no domain (subject alternative name of DNS)")]


def _names(one: x509.Certificate) -> tuple[str, ...]:
    try:
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in names.get_values_for_type(x509.DNSName)))


def _public(key: object) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    found: bytes = key.public_bytes(encoding, form)  # type: ignore[attr-defined]
    return found
