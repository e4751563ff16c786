"""Sources of public keys: the fake and HTTP in one suite; and what HTTP alone has to refuse."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from coldchain.gateway.key_source import BYTES_MAX, HttpKeySource, may_be_asked
from coldchain.model.errors import Unavailable
from coldchain.ports.key_source import KeySource
from coldchain.testing.fake_key_source import FakeKeySource

LOOPBACK = ("127.0.0.0/8", "::1/128")


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[tuple[str, list[str]]]:
    """Its address, and the paths that were asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path == "/elsewhere":
            raise web.HTTPFound("/keys")
        if request.path == "/silent":
            await asyncio.sleep(60)
        if request.path == "/long":
            return web.Response(body=b" " * (BYTES_MAX + 1))
        return web.Response(
            body=b'{"keys": []}' if request.path == "/keys" else b"", status=200 if request.path == "/keys" else 404
        )

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


@pytest.fixture(params=["fake", "http"])
async def source(request: pytest.FixtureRequest) -> AsyncIterator[tuple[KeySource, str]]:
    async with served() as (url, _):
        if request.param == "fake":
            fake = FakeKeySource()
            fake.bodies[f"{url}/keys"] = b'{"keys": []}'
            yield fake, url
        else:
            real = HttpKeySource(LOOPBACK)
            yield real, url
            await real.close()


async def test_what_is_there_is_brought_and_what_is_not_is_said(source: tuple[KeySource, str]) -> None:
    keys, url = source
    for _ in range(2):
        assert await keys.fetch(f"{url}/keys") == b'{"keys": []}'
    with pytest.raises(Unavailable, match="/none"):
        await keys.fetch(f"{url}/none")


async def test_only_whole_answers_of_reasonable_size_and_nothing_elsewhere() -> None:
    async with served() as (url, asked):
        source = HttpKeySource(LOOPBACK, timeout_seconds=0.3)
        try:
            for path, words in (("elsewhere", "answers 302"), ("long", "more than"), ("silent", "in time")):
                with pytest.raises(Unavailable, match=words):
                    await source.fetch(f"{url}/{path}")
            with pytest.raises(Unavailable, match="cannot be fetched"):
                await source.fetch("http://127.0.0.1:1/keys")
        finally:
            await source.close()
        assert asked == ["/elsewhere", "/long", "/silent"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"])
async def test_nothing_on_this_machine_is_asked_unless_it_was_allowed(host: str) -> None:
    async with served() as (url, asked):
        source = HttpKeySource(("192.0.2.0/24",))
        try:
            with pytest.raises(Unavailable):
                await source.fetch(f"http://{host}:{url.rpartition(':')[2]}/keys")
        finally:
            await source.close()
        assert asked == []


def test_which_addresses_are_public() -> None:
    expected = {
        "192.0.1.1": True,
        "2606:4700::1": True,
        "10.1.2.3": False,
        "172.16.0.1": False,
        "192.168.1.1": False,
        "100.64.0.1": False,
        "169.254.169.254": False,
        "127.9.9.9": False,
        "0.0.0.0": False,
        "224.0.0.1": False,
        "239.1.1.1": False,
        "255.255.255.255": False,
        "::": False,
        "::1": False,
        "fe80::1": False,
        "fe80::1%1": False,
        "fd00::1": False,
        "ff02::1": False,
        "::ffff:10.0.0.1": False,
        "::ffff:192.0.1.1": True,
        "64:ff9b::a00:1": False,
        "2002:a00:1::1": False,
    }
    found = {text: may_be_asked(ipaddress.ip_address(text), ()) for text in expected}
    assert found == expected
    allowed = [ipaddress.ip_network("10.1.0.0/16")]
    found = {
        text: may_be_asked(ipaddress.ip_address(text), allowed) for text in ("10.1.2.3", "10.2.0.1", "::ffff:10.1.0.1")
    }
    assert list(found.values()) == [True, False, True]
