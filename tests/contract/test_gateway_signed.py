"""Who nginx lets in by what he signed: tokens (JWT), and whole requests (HMAC). One nginx for all."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from coldchain.gateway.settings import GatewayMemory
from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import ApiKeyDigest, Consumer, KeySet, PublicKey, Resource, SharedSecret
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.model.route_access import ApiKeyPlace, Authentication, JsonWebToken, RequestSignature
from coldchain.testing.gateway_lab import Answer, GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import RawApplication, answers, raw_application

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSING = {"message": "this route asks who you are"}
WRONG = {"message": "what you show is not valid"}
SET = "https://issuer.test/keys"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
SECRET = b"a secret of thirty-two bytes....."
ANNA = Consumer(
    name="anna",
    groups=("vip",),
    secrets=tuple(
        SharedSecret(id=f"{use}1", use=use, value=base64.b64encode(SECRET).decode())  # type: ignore[arg-type]
        for use in ("jwt", "hmac")
    ),
)


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    text: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return text.decode()


KEYS = KeySet(
    name=SET,
    keys=(
        PublicKey(id="r1", algorithm="RS256", pem=pem(RSA)),
        PublicKey(id="e1", algorithm="ES256", pem=pem(EC)),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1) as lab:
        yield lab


async def push(lab: GatewayLab, app: RawApplication, *knows: Resource, **routes: Authentication) -> None:
    """Routes below /NAME."""
    services = {"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}
    rules = tuple(
        RouteRule(path=f"/{name}", service="shop", filters=RouteFilters(authentication=wanted))
        for name, wanted in routes.items()
    )
    await lab.push(services, {"*": rules}, knows)


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def by_rsa(text: bytes, key: rsa.RSAPrivateKey = RSA) -> bytes:
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def by_ec(text: bytes) -> bytes:
    one, other = decode_dss_signature(EC.sign(text, ec.ECDSA(hashes.SHA256())))
    return one.to_bytes(32, "big") + other.to_bytes(32, "big")


def by_secret(text: bytes, key: bytes = SECRET) -> bytes:
    return hmac.digest(key, text, "sha256")


def token(header: dict[str, Any], claims: Any, sign: Callable[[bytes], bytes]) -> str:
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{text}.{encoded(sign(text.encode()))}"


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "anna", "exp": time.time() + 600, **more}


async def shown(lab: GatewayLab, path: str, text: str, **headers: str) -> Answer:
    return await lab.ask(path=path, headers={"Authorization": f"Bearer {text}"} | headers)


RS, ES, HS = {"alg": "RS256", "kid": "r1"}, {"alg": "ES256", "kid": "e1"}, {"alg": "HS256", "kid": "jwt1"}


def jwt(algorithm: Any, **more: Any) -> Authentication:
    keys = None if algorithm == "HS256" else SET
    return Authentication(jwt=JsonWebToken(algorithm=algorithm, keys=keys, leeway_seconds=5, **more))


async def test_tokens_of_each_algorithm_and_what_the_app_hears_of_them(lab: GatewayLab, app: RawApplication) -> None:
    headers = {"X-Mail": "email", "X-Roles": "roles", "X-Age": "age", "X-Bad": "bad", "X-None": "none"}
    routes = {one.lower(): jwt(one, headers=headers) for one in ("RS256", "ES256", "HS256")}
    await push(lab, app, ANNA, KEYS, **routes)
    said = claims(email="a@b.test", roles=["x", "y"], age=41, bad="a\r\nX-Forged: 1", sub="anna")
    ways = {"rs256": (RS, by_rsa), "es256": (ES, by_ec), "hs256": (HS, by_secret)}
    for name, (header, sign) in ways.items():
        text = token(header, said, sign)
        for _ in range(2):  # the second time it is remembered
            answer = await shown(lab, f"/{name}", text, **{"X-Consumer-Name": "root", "X-Mail": "x", "X-None": "x"})
            assert answer.status == 200, name
            request = app.requests.pop()
            heard = {one: request.headers.get(one) for one in ("x-consumer-name", "x-consumer-groups", "x-mail")}
            assert heard == {"x-consumer-name": "anna", "x-consumer-groups": "vip", "x-mail": "a@b.test"}
            heard = {one: request.headers.get(one) for one in ("x-roles", "x-age", "x-bad", "x-none", "x-forged")}
            assert heard == {"x-roles": "x,y", "x-age": "41", "x-bad": None, "x-none": None, "x-forged": None}
        for other in ways.keys() - {name}:
            answer = await shown(lab, f"/{other}", text)
            assert (answer.status, json.loads(answer.body)) == (401, WRONG)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="coldchain"'
    answer = await shown(lab, "/rs256", token(RS, claims(sub="stranger"), by_rsa))
    assert (answer.status, app.requests[-1].headers["x-consumer-name"]) == (200, "stranger")
    assert "x-consumer-groups" not in app.requests[-1].headers


async def test_forged_and_unfit_tokens_reach_nobody(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, ANNA, KEYS, rs=jwt("RS256", issuer="i", audience="a"), es=jwt("ES256"), hs=jwt("HS256"))
    right = claims(iss="i", aud=["b", "a"])
    now = time.time()
    head, body, signature = token(RS, right, by_rsa).split(".")
    as_secret = pem(RSA).encode()
    forged = {
        "no signature": f"{head}.{body}.",
        "another body": f"{head}.{encoded(json.dumps(claims(sub='root')).encode())}.{signature}",
        "another key": token(RS, right, lambda text: by_rsa(text, OTHER_RSA)),
        "none": token({"alg": "none", "kid": "r1"}, right, lambda text: b""),
        "None": token({"alg": "None", "kid": "r1"}, right, by_rsa),
        "the public key as secret": token({"alg": "HS256", "kid": "r1"}, right, lambda t: by_secret(t, as_secret)),
        "another algorithm": token({"alg": "RS512", "kid": "r1"}, right, by_rsa),
        "no algorithm": token({"kid": "r1"}, right, by_rsa),
        "unknown key": token({"alg": "RS256", "kid": "r2"}, right, by_rsa),
        "a key of another algorithm": token({"alg": "RS256", "kid": "e1"}, right, by_rsa),
        "a key of its own": token({"alg": "RS256", "jwk": {"kty": "RSA"}}, right, lambda t: by_rsa(t, OTHER_RSA)),
        "what must be understood": token(RS | {"crit": ["exp"]}, right, by_rsa),
        "key id that is none": token({"alg": "RS256", "kid": ["r1"]}, right, by_rsa),
        "padding": f"{head}.{body}.{signature}==",
        "another alphabet": f"{head}.{body}.{signature[:-1]}+",
        "four parts": f"{head}.{body}.{signature}.{signature}",
        "a line break": f"{head}.{body}.{signature[:9]} {signature[9:]}",
        "no object": token(RS, [right], by_rsa),
        "too long": token(RS, right | {"x": "y" * 4600}, by_rsa),
        "over": token(RS, right | {"exp": now - 6}, by_rsa),
        "no end": token(RS, {name: one for name, one in right.items() if name != "exp"}, by_rsa),
        "end that is none": token(RS, right | {"exp": "tomorrow"}, by_rsa),
        "not a number": token(RS, right | {"exp": float("nan")}, by_rsa),
        "no end at all": token(RS, right | {"exp": float("inf")}, by_rsa),
        "not yet": token(RS, right | {"nbf": now + 20}, by_rsa),
        "another issuer": token(RS, right | {"iss": "j"}, by_rsa),
        "no issuer": token(RS, claims(aud="a"), by_rsa),
        "another audience": token(RS, right | {"aud": ["b"]}, by_rsa),
        "nobody": token(RS, {name: one for name, one in right.items() if name != "sub"}, by_rsa),
        "a name of two lines": token(RS, right | {"sub": "anna\nX: 1"}, by_rsa),
        "a name that is none": token(RS, right | {"sub": {"x": 1}}, by_rsa),
    }
    found = {}
    for name, text in forged.items():
        answer = await shown(lab, "/rs", text)
        found[name] = (answer.status, json.loads(answer.body))
    assert found == dict.fromkeys(forged, (401, WRONG))
    for text in (
        token(ES, claims(), lambda text: b"\0" * 64),
        token(ES, claims(), lambda text: by_ec(text)[:63]),
        token(ES, claims(), lambda text: EC.sign(text, ec.ECDSA(hashes.SHA256()))),
    ):
        assert (await shown(lab, "/es", text)).status == 401
    for header, key in ((HS, b""), (HS, b"other"), ({"alg": "HS256"}, SECRET), (HS | {"kid": "hmac1"}, SECRET)):
        assert (
            await shown(lab, "/hs", token(header, claims(), lambda text, key=key: by_secret(text, key)))
        ).status == 401  # type: ignore[misc]
    assert app.requests == []
    for late in (claims(iss="i", aud="a", exp=time.time() - 1), claims(iss="i", aud="a", nbf=time.time() + 4)):
        assert (await shown(lab, "/rs", token(RS, late, by_rsa))).status == 200
    answer = await lab.ask(path="/rs", headers={"Authorization": "Basic YTpi"})
    assert (answer.status, json.loads(answer.body)) == (401, MISSING)


async def test_what_was_verified_holds_until_it_ends_or_the_keys_change(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, ANNA, KEYS, rs=jwt("RS256"), hs=jwt("HS256"))
    rs, hs = token(RS, claims(), by_rsa), token(HS, claims(), by_secret)
    ends = time.time() - 3
    brief = token(RS, claims(exp=ends), by_rsa)
    assert [(await shown(lab, *one)).status for one in (("/rs", rs), ("/hs", hs), ("/rs", brief))] == [200, 200, 200]
    await asyncio.sleep(ends + 5.01 - time.time())
    assert [(await shown(lab, "/rs", one)).status for one in (brief, rs)] == [401, 200]
    other = PublicKey(id="r1", algorithm="RS256", pem=pem(OTHER_RSA))
    await lab.know(KeySet(name=SET, keys=(other,)))
    assert [(await shown(lab, *one)).status for one in (("/rs", rs), ("/hs", hs))] == [401, 200]
    await lab.know(KEYS, Consumer(name="anna"))
    assert [(await shown(lab, *one)).status for one in (("/rs", rs), ("/hs", hs))] == [200, 401]
    await lab.know(KeySet(name=SET, keys=(other, *KEYS.keys[1:])), ANNA)
    unnamed = token({"alg": "RS256"}, claims(), lambda text: by_rsa(text, OTHER_RSA))
    assert (await shown(lab, "/rs", unnamed)).status == 200
    await lab.know(KeySet(name=SET, keys=(other, PublicKey(id="r2", algorithm="RS256", pem=pem(RSA)))))
    assert (await shown(lab, "/rs", unnamed)).status == 401
    await lab.forget(KEYS)
    answer = await shown(lab, "/rs", rs)
    assert (answer.status, "not known yet" in answer.text) == (503, True)
    await lab.know(KEYS)
    assert (await shown(lab, "/rs", rs)).status == 200


async def test_one_of_several_ways_is_enough_and_the_first_that_is_shown_decides(
    lab: GatewayLab, app: RawApplication
) -> None:
    digest = hashlib.sha256(b"key").hexdigest()
    bert = Consumer(name="bert", api_keys=(ApiKeyDigest(digest=digest),))
    place, token_ = ApiKeyPlace(header="X-Key"), JsonWebToken(algorithm="RS256", keys=SET, headers={"X-Mail": "email"})
    wanted = Authentication(api_key=place, jwt=token_, signature=RequestSignature())
    await push(lab, app, ANNA, KEYS, bert, any=wanted)
    text = token(RS, claims(email="a"), by_rsa)
    assert (await lab.ask(path="/any", headers={"X-Key": "key", "X-Mail": "forged"})).status == 200
    assert (await shown(lab, "/any", text)).status == 200
    heard = [(one.headers["x-consumer-name"], one.headers.get("x-mail")) for one in app.requests]
    assert heard == [("bert", None), ("anna", "a")]
    assert (await shown(lab, "/any", text, **{"X-Key": "wrong"})).status == 401
    answer = await lab.ask(path="/any")
    challenges = 'ApiKey realm="coldchain", Coldchain-HMAC-SHA256 realm="coldchain", Bearer realm="coldchain"'
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, challenges)


# --- signed requests ---


def signed(lab: GatewayLab, method: str, target: str, body: bytes = b"", **other: Any) -> dict[str, str]:
    said = {
        "key": "hmac1",
        "timestamp": int(time.time()),
        "nonce": encoded(hashlib.sha256(str(time.time_ns()).encode()).digest()),
    }
    said |= {"body": hashlib.sha256(body).hexdigest()} | other
    host = lab.settings.listen[0]
    lines = ("Coldchain-HMAC-SHA256", method, host, target, said["timestamp"], said["nonce"], said["body"])
    right = hmac.new(SECRET, "\n".join(map(str, lines)).encode(), "sha256").hexdigest()
    fields = ", ".join(f"{name}={one}" for name, one in ({**said, "signature": right} | other).items())
    return {"Authorization": f"Coldchain-HMAC-SHA256 {fields}"}


SIGNED = Authentication(signature=RequestSignature(clock_skew_seconds=30, body_bytes_max=20_000))


async def test_a_signed_request_goes_through_once(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, ANNA, s=SIGNED)
    for method, target, body in (
        ("GET", "/s?a=%20&b=/", b""),
        ("POST", "/s/x", b"hello"),
        ("PUT", "/s", b"x" * 20_000),
        ("DELETE", "/s//y", b""),
    ):
        headers = signed(lab, method, target, body)
        answers_ = [await lab.ask(method, target, data=body or None, headers=headers) for _ in range(2)]
        assert [one.status for one in answers_] == [200, 401], method
        assert json.loads(answers_[1].body) == WRONG
        request = app.requests.pop()
        assert (request.headers["x-consumer-name"], request.body) == ("anna", body)
        assert app.requests == []


async def test_what_was_changed_on_the_way_or_is_too_old_reaches_nobody(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, ANNA, s=SIGNED)
    now = int(time.time())

    async def status(headers: dict[str, str], method: str = "POST", target: str = "/s?a=1", body: bytes = b"b") -> int:
        return (await lab.ask(method, target, data=body, headers=headers)).status

    def post(**other: Any) -> dict[str, str]:
        return signed(lab, "POST", "/s?a=1", b"b", **other)

    found = [
        await status(post(), method="PUT"),
        await status(post(), target="/s?a=2"),
        await status(post(), body=b"c"),
        await status(post() | {"Host": "other.test"}),
        await status(post(timestamp=now - 40)),
        await status(post(timestamp=now + 40)),
        await status(post(timestamp="9" * 20)),
        await status(post(nonce="short")),
        await status(post(nonce="x" * 65)),
        await status(post(key="jwt1")),
        await status(post(key="none")),
        await status(post(signature="0" * 64)),
        await status(post(signature="")),
        await status({"Authorization": post()["Authorization"] + ", more=1"}),
        await status({"Authorization": post()["Authorization"].replace("signature", "sig")}),
        await status({"Authorization": "Coldchain-HMAC-SHA256 "}),
    ]
    assert found == [401] * len(found)
    long = b"x" * 20_001
    assert await status(signed(lab, "POST", "/s", long), target="/s", body=long) == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 7000

    answer = await lab.ask("POST", "/s", data=chunks(), headers=signed(lab, "POST", "/s", b"x" * 21_000))
    assert answer.status == 413
    assert app.requests == []
    assert [await status(post(timestamp=now + skew)) for skew in (-20, 20)] == [200, 200]


async def test_gateways_that_cannot_remember_what_was_sent_refuse_it() -> None:
    async with (
        running_gateway(worker_processes=1, memory=GatewayMemory(nonces=64 * 1024)) as lab,
        raw_application(answers) as app,
    ):
        await push(lab, app, ANNA, s=SIGNED)
        statuses, first = [], signed(lab, "GET", "/s")
        statuses.append((await lab.ask(path="/s", headers=first)).status)
        while statuses[-1] == 200 and len(statuses) < 2000:
            statuses.append((await lab.ask(path="/s", headers=signed(lab, "GET", "/s"))).status)
        assert set(statuses[:-1]) == {200}
        answer = await lab.ask(path="/s", headers=signed(lab, "GET", "/s"))
        assert (answer.status, "remember" in answer.text) == (503, True)
        assert (await lab.ask(path="/s", headers=first)).status == 401
        assert len(app.requests) == len(statuses) - 1
