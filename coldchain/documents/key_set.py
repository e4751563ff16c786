"""key_set: a set of public keys as issuers of tokens publish it (JWKS, RFC 7517), and what of it is of use here."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from coldchain.documents.text import parse_json
from coldchain.model.errors import ColdchainError, MalformedDocument
from coldchain.model.gateway_resource import PublicKey

KEYS_MAX = 100
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
RSA_EXPONENT_MAX = 2**32
ID_CHARACTERS_MAX = 255


def read_key_set(body: bytes) -> tuple[PublicKey, ...]:
    """The keys by which tokens can be signed so that gateways understand them: RS256 and ES256. What else is in the set
    is for others. Of two with one name none is taken: nobody knows which is meant. Raises MalformedDocument for what is
    no set, or one without any such key."""
    try:
        document = parse_json(body)
    except ColdchainError as error:
        raise MalformedDocument("this is no JSON", todo="Give the address of a set of keys (JWKS).") from error
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise MalformedDocument("this has no list `keys`", todo="Give the address of a set of keys (JWKS).")
    if len(listed) > KEYS_MAX:
        raise MalformedDocument(f"this has more than {KEYS_MAX} keys", todo="Have the issuer publish fewer.")
    found = [key for one in listed if isinstance(one, dict) and (key := _key(one)) is not None]
    names = [(one.algorithm, one.id) for one in found]
    keys = tuple(one for one in found if names.count((one.algorithm, one.id)) == 1)
    if not keys:
        raise MalformedDocument("this has no key for RS256 or ES256", todo="Have the issuer publish one.")
    return keys


def _key(given: Mapping[str, Any]) -> PublicKey | None:
    name, operations = given.get("kid"), given.get("key_ops", ["verify"])
    if given.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= ID_CHARACTERS_MAX):
        return None
    try:
        if given.get("kty") == "RSA" and given.get("alg", "RS256") == "RS256":
            return PublicKey(id=name, algorithm="RS256", pem=_pem(_rsa(given)))
        if given.get("kty") == "EC" and given.get("alg", "ES256") == "ES256" and given.get("crv") == "P-256":
            point = ec.EllipticCurvePublicNumbers(_number(given["x"]), _number(given["y"]), ec.SECP256R1())
            return PublicKey(id=name, algorithm="ES256", pem=_pem(point.public_key()))
    except (KeyError, ValueError):
        return None
    return None


def _rsa(given: Mapping[str, Any]) -> rsa.RSAPublicKey:
    modulus, exponent = _number(given["n"]), _number(given["e"])
    if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX or not 3 <= exponent <= RSA_EXPONENT_MAX:
        raise ValueError("an RSA key of a size that is not taken")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _number(text: Any) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,2048}", text):
        raise ValueError("no number")
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    except binascii.Error as error:
        raise ValueError("no number") from error


def _pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()
