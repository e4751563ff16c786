"""Forged and malformed tokens against the real gateway, in the classes that the public collections of JWS vectors have
(no registry of packages has those): parts missing, added or changed, algorithms confused, keys brought along, encodings
that are not the only one, signatures at the edges of their numbers, and every padding that is almost right.

Tokens that are right are made in the same way, so that nothing is refused for another reason than its own.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from coldchain.documents.key_set import read_key_set
from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import Consumer, KeySet, SharedSecret
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.model.route_access import Authentication, JsonWebToken
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import RawApplication, answers, raw_application

pytestmark = pytest.mark.asyncio(loop_scope="module")

SET = "https://issuer.test/keys"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SECRET = bytes(range(32))
NAMES = {"RS256": "rsa", "ES256": "ec", "HS256": "secret"}
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a SHA-256 in a signature of PKCS #1."""


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def rsa_jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}


def ec_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": number(numbers.x), "y": number(numbers.y)}


KEYS = read_key_set(json.dumps({"keys": [rsa_jwk(RSA) | {"kid": "rsa"}, ec_jwk(EC) | {"kid": "ec"}]}).encode())
CLAIMS = encoded(json.dumps({"sub": "anna", "exp": time.time() + 3600}).encode())


def head(algorithm: str, **more: Any) -> str:
    """As a token begins, with a dot behind the claims."""
    header = {"alg": algorithm, "kid": NAMES.get(algorithm, "rsa"), **more}
    return f"{encoded(json.dumps(header).encode())}.{CLAIMS}"


def sign(algorithm: str, text: str) -> bytes:
    if algorithm == "RS256":
        return RSA.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    if algorithm == "ES256":
        return both(*decode_dss_signature(EC.sign(text.encode(), ec.ECDSA(hashes.SHA256()))))
    return hmac.digest(SECRET, text.encode(), "sha256")


def both(one: int, other: int, size: int = 32) -> bytes:
    return one.to_bytes(size, "big") + other.to_bytes(size, "big")


def right(algorithm: str, **more: Any) -> str:
    text = head(algorithm, **more)
    return f"{text}.{encoded(sign(algorithm, text))}"


# --- classes of what is wrong, each as names and tokens ---


def parts(algorithm: str) -> Iterator[tuple[str, str]]:
    """Missing, empty, changed, added, and another serialization."""
    header, claims, signature = right(algorithm).split(".")
    other = encoded(json.dumps({"sub": "root", "exp": time.time() + 3600}).encode())
    changed = bytearray(base64.urlsafe_b64decode(signature + "=="))
    changed[-1] ^= 1
    yield "empty signature", f"{header}.{claims}."
    yield "no signature", f"{header}.{claims}"
    yield "empty claims", f"{header}..{signature}"
    yield "no claims", f"{header}.{signature}"
    yield "empty header", f".{claims}.{signature}"
    yield "no header", f"{claims}.{signature}"
    yield "claims alone", claims
    yield "dots alone", ".."
    yield "empty part more", f"{header}.{claims}.{signature}."
    yield "part more", f"{header}.{claims}.{signature}.{claims}"
    yield "changed signature", f"{header}.{claims}.{encoded(bytes(changed))}"
    yield "changed claims", f"{header}.{other}.{signature}"
    yield "changed header", f"{head(algorithm, typ='JWT').split('.')[0]}.{claims}.{signature}"
    yield "signature of the claims alone", f"{header}.{claims}.{encoded(sign(algorithm, claims))}"
    flat = {"payload": claims, "protected": header, "signature": signature}
    yield "JSON", json.dumps(flat)
    yield "JSON of many", json.dumps({"payload": claims, "signatures": [flat]})


def encodings(algorithm: str) -> Iterator[tuple[str, str]]:
    """Text that a generous reader takes for the same bytes. The signature is right for what it stands behind."""
    header, claims, signature = right(algorithm).split(".")
    for name, sign_ in (("space", " "), ("tab", "\t"), ("mark", "?"), ("hash", "#"), ("zero", "\\0"), ("padding", "=")):
        yield f"{name} in the signature", f"{header}.{claims}.{signature[:5]}{sign_}{signature[5:]}"
        yield f"{name} behind the signature", f"{header}.{claims}.{signature}{sign_}x"
        for text in (f"{header[:8]}{sign_}{header[8:]}.{claims}", f"{header}.{claims[:8]}{sign_}{claims[8:]}"):
            yield f"{name} in {text[:12]}", f"{text}.{encoded(sign(algorithm, text))}"
    yield "padded", f"{header}.{claims}.{signature}" + "=" * (-len(signature) % 4 or 4)
    unused = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    if len(signature) % 4:
        last = unused[unused.index(signature[-1]) ^ 1]
        yield "unused bits", f"{header}.{claims}.{signature[:-1]}{last}"
    yield (
        "plain base64",
        f"{header}.{claims}.{base64.b64encode(sign(algorithm, f'{header}.{claims}') + b'>>>').decode()}",
    )


def algorithms(algorithm: str) -> Iterator[tuple[str, str]]:
    """None, another one, or another one's name."""
    for name in ("none", "None", "NONE", "nOnE", "", "HS256 ", "rs256", "HS512", "RS384", "PS256", "ES384"):
        if name != algorithm:
            yield f"{name} unsigned", f"{head(name, kid=NAMES[algorithm])}."
            text = head(name, kid=NAMES[algorithm])
            yield f"{name} signed as {algorithm}", f"{text}.{encoded(sign(algorithm, text))}"
    for value in (None, True, 0, [algorithm], {"alg": algorithm}):
        text = f"{encoded(json.dumps({'alg': value, 'kid': NAMES[algorithm]}).encode())}.{CLAIMS}"
        yield f"algorithm {value}", f"{text}.{encoded(sign(algorithm, text))}"
    for other in NAMES.keys() - {algorithm}:
        yield f"right for {other}", right(other)
        text = head(algorithm)
        yield f"signed as {other}", f"{text}.{encoded(sign(other, text))}"
    text = head("RS256")
    pss = RSA.sign(text.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    yield "PSS", f"{text}.{encoded(pss)}"
    for hash_ in (hashes.SHA1(), hashes.SHA384(), hashes.SHA512()):
        yield f"RSA with {hash_.name}", f"{text}.{encoded(RSA.sign(text.encode(), padding.PKCS1v15(), hash_))}"


def confusions(algorithm: str) -> Iterator[tuple[str, str]]:
    """What everybody may know used as a secret, and keys that the token brings along."""
    key: Any = {"RS256": RSA, "ES256": EC}.get(algorithm, RSA)
    public = key.public_key()
    spki, own = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding
    secrets = [
        public.public_bytes(own.PEM, spki),
        public.public_bytes(own.PEM, spki).strip(),
        public.public_bytes(own.DER, spki),
    ]
    secrets += [b"", b"\0" * 32, SECRET[:16], json.dumps(rsa_jwk(RSA)).encode(), SET.encode()]
    for kid in ("secret", NAMES[algorithm]):
        text = head("HS256", kid=kid)
        for position, secret in enumerate(secrets):
            mac = hmac.new(secret, text.encode(), "sha256").digest()
            yield f"secret {position} as {kid}", f"{text}.{encoded(mac)}"
    mine, mine_too = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    for more in (
        {},
        {"jwk": rsa_jwk(mine)},
        {"jku": "http://127.0.0.1/keys"},
        {"x5u": "http://127.0.0.1/"},
        {"kid": "mine", "jwk": rsa_jwk(mine)},
    ):
        text = head("RS256", **more)
        yield (
            f"own key {more.keys()}",
            f"{text}.{encoded(mine.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}",
        )
    text = head("ES256", jwk=ec_jwk(mine_too))
    own_signature = both(*decode_dss_signature(mine_too.sign(text.encode(), ec.ECDSA(hashes.SHA256()))))
    yield "own point", f"{text}.{encoded(own_signature)}"
    for kid in ("Rsa", "rsa ", "rsa\0", "../rsa", "' or '1'='1", "", ["rsa"], {"rsa": 1}, 0, True):
        yield f"key {kid!r}", right(algorithm, kid=kid)
    yield "critical", right(algorithm, crit=["exp"])
    yield "critical b64", right(algorithm, crit=["b64"], b64=False)


def macs() -> Iterator[tuple[str, str]]:
    text = head("HS256")
    mac = sign("HS256", text)
    for name, one in {
        "half": mac[:16],
        "one byte": mac[:1],
        "one less": mac[:-1],
        "one more": mac + b"\0",
        "twice": mac * 2,
        "zeros": b"\0" * 32,
        "hexadecimal": mac.hex().encode(),
        "digest": hashlib.sha256(text.encode()).digest(),
        "reversed": mac[::-1],
    }.items():
        yield name, f"{text}.{encoded(one)}"


def points() -> Iterator[tuple[str, str]]:
    """Signatures of ES256 at the edges of their two numbers."""
    text = head("ES256")
    der = EC.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    one, other = decode_dss_signature(der)
    edges = (0, 1, 2, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1)
    for left in edges:
        for right_ in edges:
            yield f"{left}, {right_}", f"{text}.{encoded(both(left, right_))}"
    digest = hashlib.sha256(text.encode()).digest()
    other_hash = both(*decode_dss_signature(EC.sign(digest[::-1], ec.ECDSA(Prehashed(hashes.SHA256())))))
    for name, signature in {
        "DER": der,
        "r is 0": both(0, other),
        "s is 0": both(one, 0),
        "r by n": both(one + ORDER, other, 33),
        "s by n": both(one, other + ORDER, 33),
        "longer": both(one, other, 40),
        "zeros behind": both(one, other) + b"\0\0",
        "zeros before": b"\0\0" + both(one, other),
        "exchanged": both(other, one),
        "half": both(one, other)[:32],
        "of another digest": other_hash,
    }.items():
        yield name, f"{text}.{encoded(signature)}"


def paddings() -> Iterator[tuple[str, str]]:
    """Signatures of RS256, made with the private key, of blocks that are almost what PKCS #1 says."""
    text = head("RS256")
    digest = hashlib.sha256(text.encode()).digest()
    numbers = RSA.private_numbers()
    modulus, size = numbers.public_numbers.n, 256

    def of(block: bytes) -> bytes:
        return pow(int.from_bytes(block, "big"), numbers.d, modulus).to_bytes(size, "big")

    def block(info: bytes, filler: bytes = b"\xff", kind: bytes = b"\0\1", end: bytes = b"\0") -> bytes:
        return kind + filler * (size - len(kind) - len(end) - len(info)) + end + info

    info = DIGEST_INFO + digest
    assert of(block(info)) == sign("RS256", text), "the right one is made like this"
    wrong_infos = {
        "long form of the length": b"\x30\x81" + info[1:],
        "leading zero of the length": b"\x30\x82\0" + info[1:],
        "length too great": b"\x30\x32" + info[2:],
        "length too small": b"\x30\x30" + info[2:],
        "length of 2^32": b"\x30\x85\1\0\0\0\x31" + info[2:],
        "length of 2^64": b"\x30\x89\1\0\0\0\0\0\0\0\x31" + info[2:],
        "length without end": b"\x30\x80" + info[2:] + b"\0\0",
        "no sequence": info[2:],
        "no digest info": digest,
        "zeros behind": info + b"\0\0",
        "garbage behind": info + b"garbage",
        "garbage within": b"\x30\x33" + info[2:] + b"\5\0",
        "no null": bytes.fromhex("302f300b0609608648016503040201") + b"\4\x20" + digest,
        "two nulls": bytes.fromhex("3033300f06096086480165030402010500") + b"\5\0\4\x20" + digest,
        "another hash named": bytes.fromhex("3031300d060960864801650304020305000420") + digest,
        "another tag": b"\x31" + info[1:],
        "another tag of the digest": DIGEST_INFO[:-2] + b"\3\x20" + digest,
        "digest cut": DIGEST_INFO[:-1] + b"\x1f" + digest[:-1],
        "empty digest": bytes.fromhex("3011300d060960864801650304020105000400"),
    }
    for name, wrong in wrong_infos.items():
        yield name, f"{text}.{encoded(of(block(wrong)))}"
    short = b"\0\1" + b"\xff" * 8 + b"\0" + info
    wrong_blocks = {
        "kind 0": block(info, filler=b"\0", kind=b"\0\0"),
        "kind 2": block(info, kind=b"\0\2"),
        "other filler": block(info, filler=b"\xfe"),
        "no end": block(info, end=b""),
        "garbage behind a short filler": short + b"\x5a" * (size - len(short)),
        "garbage in the filler": b"\0\1"
        + b"\xff" * 8
        + b"\0" * 8
        + b"\xff" * (size - 18 - len(info) - 1)
        + b"\0"
        + info,
    }
    for name, wrong in wrong_blocks.items():
        yield name, f"{text}.{encoded(of(wrong))}"
    good = int.from_bytes(sign("RS256", text), "big")
    for name, value, length in (
        ("0", 0, size),
        ("1", 1, size),
        ("n - 1", modulus - 1, size),
        ("n", modulus, size),
        ("negative", modulus - good, size),
        ("not reduced", good + modulus, size + 1),
        ("longer", good, size + 1),
    ):
        yield name, f"{text}.{encoded(value.to_bytes(length, 'big'))}"
    yield "cut", f"{text}.{encoded(good.to_bytes(size, 'big')[:-1])}"
    yield "zeros behind", f"{text}.{encoded(good.to_bytes(size, 'big') + bytes(1))}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[RawApplication]:
    async with raw_application(answers) as application:
        yield application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(app: RawApplication) -> AsyncIterator[GatewayLab]:
    secret = SharedSecret(id="secret", use="jwt", value=base64.b64encode(SECRET).decode())
    async with running_gateway(worker_processes=1) as lab:
        rules = tuple(
            RouteRule(
                path=f"/{one}",
                service="shop",
                filters=RouteFilters(
                    authentication=Authentication(
                        jwt=JsonWebToken(algorithm=one, keys=None if one == "HS256" else SET)  # type: ignore[arg-type]
                    )
                ),
            )
            for one in NAMES
        )
        knows = (Consumer(name="anna", secrets=(secret,)), KeySet(name=SET, keys=KEYS))
        await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"*": rules}, knows)
        yield lab


def forged(algorithm: str) -> dict[str, str]:
    own = {"HS256": macs, "ES256": points, "RS256": paddings}[algorithm]
    found = {}
    for kind in (parts, encodings, algorithms, confusions):
        found.update({f"{kind.__name__}: {name}": text for name, text in kind(algorithm)})
    return found | {f"{own.__name__}: {name}": text for name, text in own()}


@pytest.mark.parametrize("algorithm", list(NAMES))
async def test_no_forged_token_reaches_the_app(lab: GatewayLab, app: RawApplication, algorithm: str) -> None:
    vectors = forged(algorithm)
    assert len(vectors) >= 100
    passed = {}
    for name, text in vectors.items():
        answer = await lab.ask(path=f"/{algorithm}", headers={"Authorization": f"Bearer {text}"})
        if answer.status not in (400, 401):
            passed[name] = answer.status
    assert passed == {}
    assert app.requests == []


@pytest.mark.parametrize("algorithm", list(NAMES))
async def test_tokens_that_are_right_are_let_in(lab: GatewayLab, app: RawApplication, algorithm: str) -> None:
    spaced = encoded(json.dumps({"kid": NAMES[algorithm], "alg": algorithm}, indent=1).encode()) + f".{CLAIMS}"
    tokens = [
        right(algorithm),
        right(algorithm, typ="JWT", cty="x", jku="http://127.0.0.1/"),
        f"{spaced}.{encoded(sign(algorithm, spaced))}",
    ]
    statuses = [
        (await lab.ask(path=f"/{algorithm}", headers={"Authorization": f"Bearer {one}"})).status for one in tokens
    ]
    assert statuses == [200, 200, 200]
    assert {request.headers["x-consumer-name"] for request in app.requests} == {"anna"}
    app.requests.clear()
