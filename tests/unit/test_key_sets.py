"""Public keys of issuers: what of a set is taken, when one is fetched, and that the last good one stays."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from coldchain.control.key_sets import KeySets
from coldchain.control.state import State
from coldchain.decisions import key_set as decide
from coldchain.documents.key_set import KEYS_MAX, read_key_set
from coldchain.model.app import App, Route, RouteFilters
from coldchain.model.errors import MalformedDocument
from coldchain.model.key_set import KeySetState
from coldchain.model.route_access import Authentication, JsonWebToken
from coldchain.model.version import AppRecord, Version
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_key_source import FakeKeySource
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

RSA, WEAK = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
URL = "https://issuer.test/keys"


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def of_rsa(key: rsa.RSAPrivateKey = RSA, **more: Any) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": "r", "n": number(numbers.n), "e": number(numbers.e), **more}


def of_ec(**more: Any) -> dict[str, Any]:
    numbers = EC.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "kid": "e", "x": number(numbers.x), "y": number(numbers.y), **more}


def body(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def names(*keys: Any) -> list[tuple[str | None, str]]:
    return [(one.id, one.algorithm) for one in read_key_set(body(*keys))]


def test_keys_of_both_kinds_are_taken_and_those_for_others_passed_over() -> None:
    others = (
        of_rsa(use="enc"),
        of_rsa(alg="RS512"),
        of_rsa(alg="PS256"),
        of_rsa(key_ops=["encrypt"]),
        of_rsa(WEAK),
        of_rsa(e="AQ"),
        of_rsa(n="@"),
        of_rsa(kid=7),
        of_rsa(kid=""),
        of_ec(crv="P-384"),
        of_ec(alg="ES384"),
        of_ec(x=number(5)),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "o", "alg": "HS256"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {},
        5,
    )
    assert names(*others, of_rsa(), of_ec()) == [("r", "RS256"), ("e", "ES256")]
    right = (of_rsa(use="sig", alg="RS256", key_ops=["verify"]), of_ec(kid="r", alg="ES256"))
    assert names(*right) == [("r", "RS256"), ("r", "ES256")]
    unnamed = of_rsa()
    del unnamed["kid"]
    (one,) = read_key_set(body(unnamed))
    assert (one.id, one.pem.startswith("-----BEGIN PUBLIC KEY-----")) == (None, True)
    assert names(of_rsa(), of_rsa(), of_ec()) == [("e", "ES256")], "nobody knows which of two with one name is meant"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"<html>", "no JSON"),
        (b"[]", "no list"),
        (b'{"keys": {}}', "no list"),
        (body(), "no key for"),
        (body(of_rsa(WEAK)), "no key for"),
        (body(*[of_ec()] * (KEYS_MAX + 1)), "more than"),
    ],
)
def test_what_is_no_set_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(MalformedDocument, match=words):
        read_key_set(text)


@given(st.lists(st.booleans(), max_size=20), st.floats(0, 1e6))
def test_after_each_try_there_is_another_within_the_time_between_two(tries: list[bool], now: float) -> None:
    state: KeySetState | None = None
    for good in tries:
        state = decide.tried(state, now, problem="" if good else "away", fetched_at=1.0 if good else None)
        assert (state.failures == 0) is good
        wait = decide.wait_seconds([URL], {URL: state}, now)
        assert wait is not None
        assert decide.RETRY_SECONDS - 1e-6 <= wait <= decide.REFRESH_SECONDS + 1e-6
        assert decide.due([URL], {URL: state}, now) == []
        now = decide.next_at(state)
        assert decide.due([URL], {URL: state}, now) == [URL]
    assert decide.due([URL], {}, now) == [URL]
    assert decide.wait_seconds([], {}, now) is None


def app(name: str, url: str | None) -> App:
    jwt = JsonWebToken(algorithm="RS256", keys=url) if url else JsonWebToken(algorithm="HS256")
    filters = RouteFilters(authentication=Authentication(jwt=jwt))
    return App(id=name, service=name[1:], instances=0, routes=(Route(domains=(name[1:],), filters=filters),))


class Bench:
    """What fetches, on records that a test writes."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.store = MemoryStore()
        self.source = FakeKeySource()
        self.begin()

    def begin(self) -> None:
        """A controller, from what is in the store."""
        self.state = State(self.store)
        self.sets = KeySets(self.state, self.clock)
        self.sets.source = self.source

    async def wants(self, *apps: App) -> None:
        """These apps and no others."""
        async with self.state.lock:
            records = [AppRecord(app_id=one.id, version_id="1", target=one.target, cause="test") for one in apps]
            versions = [Version(id="1", config_id="1", app=one) for one in apps]
            gone = [one for name, one in self.state.apps.items() if name not in {app.id for app in apps}]
            await self.state.commit([*versions, *records], gone)

    async def run(self, story: Callable[[], Awaitable[None]]) -> None:
        await self.state.load()
        self.sets.start()
        running = asyncio.ensure_future(self.sets.run())
        try:
            await story()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def known(self) -> dict[str, list[str | None]]:
        return {one.name: [key.id for key in one.keys] for one in self.sets.resources()}


def bench(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def main(loop: SimulatedLoop) -> None:
        await story(Bench(loop))

    loop = SimulatedLoop(1)
    simulate(main(loop), loop)


def test_the_last_good_set_stays_also_for_the_next_controller() -> None:
    async def story(here: Bench) -> None:
        async def first() -> None:
            await here.clock.sleep(1)
            assert here.source.asked == []
            here.source.bodies[URL] = body(of_rsa())
            await here.wants(app("/a", URL), app("/b", None))
            await here.clock.sleep(1)
            assert here.known() == {URL: ["r"]}
            here.source.bodies[URL] = body(of_rsa(kid="new"), of_ec())
            await here.clock.sleep(decide.REFRESH_SECONDS)
            assert here.known() == {URL: ["new", "e"]}
            here.source.bodies[URL] = b"<html>"
            await here.clock.sleep(decide.REFRESH_SECONDS + 1)
            assert here.known() == {URL: ["new", "e"]}
            assert "no JSON" in here.sets.states[URL].problem
            asked = len(here.source.asked)
            await here.clock.sleep(4 * decide.RETRY_SECONDS)
            assert len(here.source.asked) == asked + 2, "it is tried again, less and less often"
            del here.source.bodies[URL]

        async def next_one() -> None:
            await here.clock.sleep(1)
            assert here.known() == {URL: ["new", "e"]}
            assert here.sets.states[URL].fetched_at is None
            here.source.bodies[URL] = body(of_ec(kid="back"))
            await here.clock.sleep(decide.RETRY_SECONDS)
            assert (here.known(), here.sets.states[URL].problem) == ({URL: ["back"]}, "")

        await here.run(first)
        here.begin()
        await here.run(next_one)

    bench(story)


def test_what_no_route_names_is_forgotten_and_not_fetched() -> None:
    async def story(here: Bench) -> None:
        async def changes() -> None:
            other = "https://other.test/keys"
            here.source.bodies |= {URL: body(of_rsa()), other: body(of_ec())}
            await here.wants(app("/a", URL), app("/b", other), app("/c", other))
            await here.clock.sleep(1)
            assert here.known() == {URL: ["r"], other: ["e"]}
            await here.wants(app("/b", other))
            await here.clock.sleep(1)
            assert here.known() == {other: ["e"]}
            assert sorted(here.source.asked) == [URL, other]
            await here.clock.sleep(decide.REFRESH_SECONDS)
            assert sorted(here.source.asked) == [URL, other, other]

        await here.run(changes)

    bench(story)
