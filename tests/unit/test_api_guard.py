"""Only who addresses this machine as this machine is heard, and no page of another site changes anything."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.model.app import App
from coldchain.model.errors import ColdchainError, Problem
from coldchain.testing.served_platform import ServedPlatform, served_platform

APP = {"id": "/x", "container": {"docker": {"image": "x"}}}


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform(ApiSettings(hosts=("coldchain.test",))) as platform:
        yield platform


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("api.localhost", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:1", 200),
        ("[::1]:8080", 200),
        ("coldchain.test:8080", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("192.0.2.1", 403),
        ("", 403),
        ("a b", 403),
    ],
)
async def test_names_under_which_it_answers(platform: ServedPlatform, host: str, status: int) -> None:
    async with ClientSession(platform.url) as session, session.get("/ping", headers={"Host": host}) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec-Fetch-Site": "none"}, 201),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:1", "Host": "localhost:1"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1", "Host": "localhost:2"}, 403),
    ],
)
async def test_who_may_change(platform: ServedPlatform, headers: dict[str, str], status: int) -> None:
    async with ClientSession(platform.url) as session:
        async with session.post("/v2/apps", json=APP, headers=headers) as answer:
            assert answer.status == status
        assert ("/x" in platform.controller.state.apps) is (status == 201)


async def test_the_check_handed_over_is_asked_before_anything_is_stored() -> None:
    def check(app: App) -> list[Problem]:
        return [Problem(path="/container", reason="no such option", suggestion="cpus")] if app.cpus > 1 else []

    async with served_platform(ApiSettings(check=check)) as platform, ClientSession(platform.url) as session:
        async with session.post("/v2/apps", json=APP | {"cpus": 2}) as answer:
            assert answer.status == 422
            said = await answer.json()
            assert said["details"] == [{"path": "/container", "errors": ["no such option (did you mean 'cpus'?)"]}]
        await platform.deployed(session, APP)
        async with session.put("/v2/apps/x", json={"cpus": 2}) as answer:
            assert answer.status == 422
        assert platform.controller.state.running == {}


async def test_down_is_passed_on() -> None:
    asked: list[bool] = []
    settings = ApiSettings(down=lambda: asked.append(True))
    async with served_platform(settings) as platform, ClientSession(platform.url) as session:
        async with session.post("/v1/down") as answer:
            assert answer.status == 202
        assert asked == [True]
    async with (
        served_platform() as platform,
        ClientSession(platform.url) as session,
        session.post("/v1/down") as answer,
    ):
        assert answer.status == 409


async def test_a_port_in_use_is_said_with_its_address(platform: ServedPlatform) -> None:
    second = ApiServer(platform.controller, "127.0.0.1", platform.port)
    with pytest.raises(ColdchainError, match=rf"cannot listen on 127\.0\.0\.1:{platform.port}: something else"):
        await second.start()


async def test_an_address_of_another_machine_is_said(platform: ServedPlatform) -> None:
    with pytest.raises(ColdchainError, match="no such address"):
        await ApiServer(platform.controller, "192.0.2.1", 0).start()
