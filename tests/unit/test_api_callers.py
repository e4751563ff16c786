"""Tokens through the API: made once, shown never again, revoked; what a caller has open ends with his token; streams
tell of his group alone; and all of it is on record."""

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, UnixConnector

from coldchain.api.settings import ApiSettings
from coldchain.control.audit import REFUSALS_MAX
from coldchain.documents.audit import ENTRY_BYTES_MAX
from coldchain.model.secret import MASK
from coldchain.testing.served_platform import ServedPlatform, served_platform

STREAM = {"Accept": "text/event-stream"}


def app(app_id: str, **fields: object) -> dict[str, Any]:
    return {"id": app_id, "container": {"docker": {"image": "web:v1"}}, **fields}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a path that is short enough for a socket in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
async def platform(folder: Path) -> AsyncIterator[ServedPlatform]:
    settings = ApiSettings(keep_alive_seconds=0.05, socket=folder / "api.socket")
    async with served_platform(settings) as platform:
        yield platform


@pytest.fixture
async def admin(platform: ServedPlatform) -> AsyncIterator[ClientSession]:
    """Everybody is asked; this one is an admin."""
    async with session(platform, "ops", "admin") as session_:
        yield session_


def session(platform: ServedPlatform, name: str, role: str, group: str = "/") -> "_Session":
    return _Session(platform, name, role, group)


class _Session:
    """A caller with a token of his own."""

    def __init__(self, platform: ServedPlatform, name: str, role: str, group: str) -> None:
        self._platform, self._asked_for = platform, (name, role, group)

    async def __aenter__(self) -> ClientSession:
        name, role, group = self._asked_for
        _token, text = await self._platform.controller.callers.create(name, role, group, None, "test")  # type: ignore[arg-type]
        self._session = ClientSession(self._platform.url, headers={"Authorization": f"Bearer {text}"})
        return self._session

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


async def test_a_token_is_shown_once_and_only_its_digest_is_kept(
    platform: ServedPlatform, admin: ClientSession
) -> None:
    asked_for = {"name": "ci", "role": "owner", "group": "/shop", "expiresAfterSeconds": 3600}
    async with admin.post("/v1/tokens", json=asked_for) as answer:
        made = await answer.json()
    assert (answer.status, made["role"], made["group"], made["cause"]) == (201, "owner", "/shop", "made by ops")
    async with admin.get("/v1/tokens") as answer:
        listed = await answer.text()
    assert [one["name"] for one in json.loads(listed)["tokens"]] == ["ci", "ops"]
    assert json.loads(listed)["tokens"][0]["expired"] is False
    entries = (await platform.store.list("")).entries
    assert made["token"] not in listed + repr(entries)
    async with admin.delete("/v1/tokens/ci") as answer:
        assert answer.status == 204
    async with admin.delete("/v1/tokens/ci") as answer:
        assert answer.status == 404


async def test_the_last_admin_stays_while_others_are_there(platform: ServedPlatform, admin: ClientSession) -> None:
    async with session(platform, "reader", "viewer"):
        async with admin.delete("/v1/tokens/ops") as answer:
            assert answer.status == 409
        async with admin.delete("/v1/tokens/reader") as answer:
            assert answer.status == 204
    async with admin.delete("/v1/tokens/ops") as answer:
        assert answer.status == 204


async def ended(answer: ClientResponse) -> None:
    async with asyncio.timeout(5):
        async for _chunk in answer.content:
            pass


@pytest.mark.parametrize("path", ["/v2/events", "/v1/apps/shop/logs?follow=true"])
async def test_a_stream_ends_when_its_token_is_revoked(
    platform: ServedPlatform, admin: ClientSession, path: str
) -> None:
    await platform.deployed(admin, app("/shop"))
    async with session(platform, "reader", "viewer", "/shop") as reader, reader.get(path, headers=STREAM) as answer:
        assert answer.status == 200
        async with admin.get(path, headers=STREAM) as other:
            async with admin.delete("/v1/tokens/reader") as deleted:
                assert deleted.status == 204
            await ended(answer)
            await other.content.readany()
            assert not other.content.at_eof()


async def test_a_stream_that_nobody_was_asked_for_ends_with_the_first_token(platform: ServedPlatform) -> None:
    async with (
        ClientSession(platform.url) as somebody,
        somebody.get("/v2/events", headers=STREAM) as answer,
        session(platform, "ops", "admin"),
    ):
        await ended(answer)


async def test_a_stream_ends_when_the_time_of_its_token_is_over(platform: ServedPlatform, admin: ClientSession) -> None:
    _token, text = await platform.controller.callers.create("brief", "viewer", "/", 0.3, "test")
    headers = STREAM | {"Authorization": f"Bearer {text}"}
    async with ClientSession(platform.url) as brief, brief.get("/v2/events", headers=headers) as answer:
        assert answer.status == 200
        await ended(answer)


async def test_events_are_those_of_the_group(platform: ServedPlatform, admin: ClientSession) -> None:
    async with (
        session(platform, "owner", "owner", "/shop") as owner,
        owner.get("/v2/events?embed=coldchain", headers=STREAM) as limited,
        admin.get("/v2/events?embed=coldchain", headers=STREAM) as whole,
    ):
        await platform.deployed(admin, app("/shop-2/web"))
        await platform.deployed(owner, app("/shop/web"))
        platform.controller.events.emit("something_new", "test", {"eventType": "something_new", "secret": "x"})
        platform.controller.events.emit("brake_changed_event", "test", {"eventType": "brake_changed_event"})
        events, all_events = [await heard(one) for one in (limited, whole)]
    assert {"/shop/web", "/shop-2/web"} <= {name for one in all_events for name in named(one)}
    assert {name for one in events for name in named(one)} == {"/shop/web"}
    assert [one["eventType"] for one in events][-1] == "brake_changed_event"
    assert [one["eventType"] for one in all_events][-2:] == ["something_new", "brake_changed_event"]
    kinds = {one["eventType"] for one in events}
    assert {"deployment_info", "status_update_event", "api_post_event"} <= kinds
    assert not kinds & {"something_new", "event_stream_attached"}
    assert {one["id"] for one in events} < {one["id"] for one in all_events}


async def heard(answer: ClientResponse) -> list[dict[str, Any]]:
    """Events until the brake's."""
    found: list[dict[str, Any]] = []
    sequence = 0
    async with asyncio.timeout(5):
        async for raw in answer.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "id":
                sequence = int(value)
            elif name == "data":
                found.append({"id": sequence, **json.loads(value)} | {"id": sequence})
                if found[-1]["eventType"] == "brake_changed_event":
                    return found
    raise EOFError


def named(event: dict[str, Any]) -> set[str]:
    """The apps that stand anywhere in it."""
    text = json.dumps(event)
    return {name for name in ("/shop/web", "/shop-2/web") if f'"{name}"' in text}


async def entries(admin: ClientSession, **query: str) -> list[dict[str, Any]]:
    async with admin.get("/v1/audit", params=query) as answer:
        found: list[dict[str, Any]] = (await answer.json())["entries"]
        return found


async def test_a_change_is_on_record_with_its_caller_and_its_differences(
    platform: ServedPlatform, admin: ClientSession
) -> None:
    async with session(platform, "anna", "owner", "/shop") as anna:
        created = await platform.deployed(anna, app("/shop/web", env={"DB_PASSWORD": "hidden", "COLOR": "red"}))
        async with anna.put("/v2/apps/shop/web", json={"env": {"DB_PASSWORD": "new", "COLOR": "blue"}}) as answer:
            changed = await answer.json()
    last, first = await entries(admin)
    assert (first["caller"], first["role"], first["method"], first["path"]) == ("anna", "owner", "POST", "/v2/apps")
    assert (first["status"], first["address"], first["apps"]) == (201, "127.0.0.1", ["/shop/web"])
    assert first["deployments"] == [one["id"] for one in created["deployments"]]
    assert first["changes"][0]["change"] == "added"
    added = {one["path"] for one in first["changes"][0]["differences"]}
    assert added == {"/id", "/container", "/env"}, "no defaults"
    assert (last["method"], last["deployments"]) == ("PUT", [changed["deploymentId"]])
    differences = {one["path"]: (one["old"], one["new"]) for one in last["changes"][0]["differences"]}
    assert differences["/env/COLOR"] == ("red", "blue")
    assert differences["/env/DB_PASSWORD"] == (MASK, MASK)
    assert "hidden" not in json.dumps([last, first])


async def test_a_change_of_many_apps_keeps_few_of_their_differences(
    platform: ServedPlatform, admin: ClientSession
) -> None:
    label = {"note": "x" * (ENTRY_BYTES_MAX // 8)}
    group = {"apps": [app(f"app-{number}", labels=label) for number in range(20)]}
    async with admin.put("/v2/groups/shop", json=group) as answer:
        assert answer.status == 200
    [entry] = await entries(admin)
    changes = entry["changes"]
    names = {f"/shop/app-{number}" for number in range(20)}
    assert {one["name"] for one in changes} == names == {*entry["apps"]} - {"/shop"}
    kept = sum(len(json.dumps(one["differences"])) for one in changes)
    assert ENTRY_BYTES_MAX // 2 < kept < ENTRY_BYTES_MAX * 1.1
    assert changes[0]["more"] == 0 < changes[-1]["more"]


async def test_what_is_read_or_invalid_is_not_on_record_and_what_is_refused_is(
    platform: ServedPlatform, admin: ClientSession
) -> None:
    async with session(platform, "reader", "viewer", "/shop") as reader, ClientSession(platform.url) as nobody:
        async with reader.get("/v2/apps") as answer:
            assert answer.status == 200
        async with admin.post("/v2/apps", json={"id": "/x"}) as answer:
            assert answer.status == 422
        async with admin.post("/v1/apps/x/preview", json=app("/x")) as answer:
            assert answer.status == 200
        assert await entries(admin) == []
        async with reader.post("/v2/apps", json=app("/shop/x")) as answer:
            assert answer.status == 403
        async with nobody.delete("/v2/apps/shop/x") as answer:
            assert answer.status == 401
        async with admin.post("/v2/apps", json=app("/x"), headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        async with reader.get("/v1/apps/shop/x/exec?argument=sh") as answer:
            assert answer.status == 403
    found = [(one["caller"], one["role"], one["status"], one["apps"]) for one in reversed(await entries(admin))]
    assert found == [
        ("reader", "viewer", 403, []),
        ("", None, 401, ["/shop/x"]),
        ("", None, 403, []),
        ("reader", "viewer", 403, ["/shop/x"]),
    ]


async def test_who_knocks_does_not_push_out_what_was_done(platform: ServedPlatform, admin: ClientSession) -> None:
    async with admin.post("/v2/apps", json=app("/shop")) as answer:
        assert answer.status == 201
    async with ClientSession(platform.url) as nobody:
        for _ in range(REFUSALS_MAX + 5):
            async with nobody.delete("/v2/apps/shop") as answer:
                assert answer.status == 401
    found = await entries(admin, count="1000")
    assert [one["status"] for one in found] == [401] * REFUSALS_MAX + [201]


async def test_what_a_stranger_writes_in_an_address_is_short_and_moves_no_cursor(
    platform: ServedPlatform, admin: ClientSession
) -> None:
    for sent in (b"/v2/apps/%1b%5b2J" + b"x" * 4000, b"/v2/apps/\xff\xc2\x9b2J"):
        reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
        writer.write(b"DELETE " + sent + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).split()[1] in (b"400", b"401")
        writer.close()
    *_more, entry = await entries(admin)
    assert entry["path"].startswith("/v2/apps/%1b%5b2Jxxx")
    assert entry["apps"][0].startswith("/?[2Jxxx")
    assert (len(entry["path"]), len(entry["apps"][0])) == (500, 500)
    async with admin.get("/v1/audit") as answer:
        assert (await answer.text()).isascii()


async def test_tokens_and_secrets_are_on_record_without_what_they_hide(
    platform: ServedPlatform, admin: ClientSession
) -> None:
    async with admin.post("/v1/tokens", json={"name": "ci", "role": "viewer"}) as answer:
        text = (await answer.json())["token"]
    async with admin.put("/v1/secrets/database", data=b"correct-horse") as answer:
        assert answer.status == 201
    secret, token = await entries(admin)
    assert token["changes"] == [{"kind": "token", "name": "ci", "change": "added", "differences": [], "more": 0}]
    assert secret["changes"] == [
        {"kind": "secret", "name": "database", "change": "added", "differences": [], "more": 0}
    ]
    assert text not in json.dumps([secret, token])


async def test_the_socket_in_the_data_folder_is_always_an_admins(
    platform: ServedPlatform, admin: ClientSession, folder: Path
) -> None:
    path = folder / "api.socket"
    assert path.stat().st_mode & 0o777 == 0o600
    async with ClientSession("http://localhost", connector=UnixConnector(str(path))) as root:
        async with root.get("/v1/caller") as answer:
            assert await answer.json() == {"name": "local", "role": "admin", "group": "/"}
        async with root.get("/v2/events", headers=STREAM) as stream, session(platform, "x", "viewer"):
            async with root.post("/v1/brake/release") as answer:
                assert answer.status == 409
            await stream.content.readany()
            assert not stream.content.at_eof()
        async with root.delete("/v1/tokens/x") as answer:
            assert answer.status == 204
    assert [(one["caller"], one["address"]) for one in await entries(admin)] == [("local", "")]


async def test_a_socket_that_a_killed_process_left_is_replaced(folder: Path) -> None:
    path = folder / "api.socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with served_platform(ApiSettings(socket=path)) as platform:
        connector = UnixConnector(str(path))
        async with ClientSession("http://localhost", connector=connector) as root, root.get("/ping") as answer:
            assert answer.status == 200
        await platform.stop()
        assert not path.exists()
        await platform.start()
        assert path.is_socket()
