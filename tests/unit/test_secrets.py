"""A secret reaches its task and nothing else: its value is looked for everywhere a user or a file could show it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from coldchain.control.clock import SystemClock
from coldchain.documents.application import decode_app, encode_app, merge_app
from coldchain.main.mesos import executor_key
from coldchain.model.errors import InvalidDocument
from coldchain.store.cipher import KeyFileCipher
from coldchain.store.sqlite import SQLiteStore
from coldchain.testing.fake_engine import Life
from coldchain.testing.inadmissible import container
from coldchain.testing.served_platform import ServedPlatform

VALUE = "correct-horse-battery"
APP: dict[str, Any] = container() | {
    "env": {"USER": "shop", "PASSWORD": {"secret": "database"}},
    "secrets": {"database": {"source": "shop-database"}},
}


def test_a_definition_comes_back_as_it_was_written() -> None:
    app = decode_app(APP)
    assert (app.env, app.secret_env) == ({"USER": "shop"}, {"PASSWORD": "database"})
    shown = encode_app(app)
    assert shown["env"] == APP["env"]
    assert "secretEnv" not in shown
    assert decode_app(shown) == app
    assert merge_app(app, {"instances": 3}).secret_env == app.secret_env


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({"env": {"A": {"secret": "databse"}}}, "/env/A", "has no 'databse'"),
        ({"env": {"A": {"secrets": "database"}}}, "/env/A", 'must be text, or {"secret": NAME}'),
        ({"env": {"A": {"secret": 1}}}, "/env/A", 'must be text, or {"secret": NAME}'),
        ({"env": {"A=": {"secret": "database"}}}, "/env/A=", "must not be empty nor contain `=`"),
        ({"secretEnv": {"A": "database"}}, "/secretEnv", "write the variable in env"),
        ({"secrets": {"database": {"source": "a/b"}}}, "/secrets/database/source", "no name of a secret"),
        ({"secrets": {"database": "x"}}, "/secrets/database", "must be an object"),
    ],
)
def test_what_is_wrong_with_a_reference_is_told(changes: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_app(APP | changes)
    assert any(one.path == path and reason in one.reason for one in caught.value.problems), caught.value


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[ServedPlatform]:
    """With a store in a file, and its keys in another."""
    platform = ServedPlatform()
    store = SQLiteStore(tmp_path / "store.sqlite")
    platform.store = store  # type: ignore[assignment]
    platform.cipher = KeyFileCipher(tmp_path / "keys")
    await platform.start()
    yield platform
    await platform.stop()
    await platform.engine.close()
    await store.close()


async def shown(platform: ServedPlatform, session: ClientSession) -> str:
    """All that the API shows of the platform and its app."""
    pages = ["/v2/apps", "/v2/apps/app", "/v2/apps/app/versions", "/v2/tasks", "/v2/deployments", "/v1/status"]
    pages += ["/v1/apps/app/status", "/v1/apps/app/history", "/v1/apps/app/bundle", "/v1/secrets", "/metrics"]
    pages += [f"/v2/apps/app/versions/{name}" for name in platform.controller.state.versions["/app"]]
    pages += [f"/v1/instances/{name}/story" for name in platform.controller.state.instances]
    pages += [f"/v1/deployments/{name}" for name in platform.controller.state.deployments]
    texts = []
    for page in pages:
        async with session.get(page) as answer:
            assert answer.status == 200, page
            texts.append(await answer.text())
    body = json.loads(texts[1])["app"]
    wanted = {name: body[name] for name in ("env", "secrets", "container", "id")}
    async with session.post("/v1/apps/app/preview", json=wanted) as answer:
        texts.append(await answer.text())
    texts += [event.text.decode() for event in platform.controller.events.kept()]
    return "\n".join(texts)


async def test_the_value_reaches_the_task_and_nothing_else(
    platform: ServedPlatform, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with ClientSession(platform.url) as session:
        async with session.put("/v1/secrets/shop-database", data=VALUE.encode()) as answer:
            assert answer.status == 201
        await platform.deployed(session, APP)
        [task] = platform.engine.held.values()
        assert task.spec.app.env == {"USER": "shop", "PASSWORD": VALUE}
        everything = await shown(platform, session)
        assert "shop-database" in everything
        assert VALUE not in everything
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert "store.sqlite" in {path.name for path in files}
    assert [path.name for path in files if VALUE.encode() in path.read_bytes()] == []
    assert VALUE not in "".join(capfd.readouterr())


async def test_what_an_engine_says_of_a_failure_is_shown_without_the_value(
    platform: ServedPlatform, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = f"my password is {VALUE}!\n".encode()
    platform.engine.life = lambda spec: Life(rejected=f"cannot set PASSWORD={VALUE}", output=output)
    async with ClientSession(platform.url) as session:
        async with session.put("/v1/secrets/shop-database", data=VALUE.encode()) as answer:
            assert answer.status == 201
        failed, wrote, state = asyncio.Event(), asyncio.Event(), platform.controller.state

        def look(pairs: object) -> None:
            if failure := state.failures.get("/app"):
                (wrote if failure.log_tail else failed).set()

        state.on_commit(look)
        async with session.post("/v2/apps", json=APP | {"backoffSeconds": 0.05}) as answer:
            assert answer.status == 201
        await failed.wait()
        platform.engine.life = lambda spec: Life(start_seconds=0.0, ends_after_seconds=0.01, output=output)
        async with session.put("/v2/apps/app?force=true", json={"cmd": "again"}) as answer:
            assert answer.status == 200
        await wrote.wait()
        everything = await shown(platform, session)
        assert "my password is •••!" in everything
        assert VALUE not in everything
    assert not any(VALUE.encode() in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert VALUE not in "".join(capfd.readouterr())


async def test_an_app_whose_secret_nobody_set_is_refused(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session, session.post("/v2/apps", json=APP) as answer:
        said = await answer.json()
    assert answer.status == 422
    assert said["details"][0]["path"] == "/secrets/database/source"
    assert "coldchain secret set shop-database" in said["details"][0]["errors"][0]


async def test_a_changed_secret_is_used_from_the_next_start_on(platform: ServedPlatform, tmp_path: Path) -> None:
    async with ClientSession(platform.url) as session:

        async def put(value: str) -> dict[str, Any]:
            async with session.put("/v1/secrets/shop-database", data=value.encode()) as answer:
                return dict(await answer.json())

        first = await put("old")
        await platform.deployed(session, APP)
        assert (await put("new"))["keyId"] == first["keyId"]
        executors = await executor_key(platform.store, platform.cipher, SystemClock())
        async with session.post("/v1/secrets/rotate") as answer:
            assert await answer.json() == {"secrets": 1}
        async with session.get("/v1/secrets") as answer:
            [listed] = (await answer.json())["secrets"]
        assert listed["keyId"] != first["keyId"]
        assert listed["usedBy"] == ["/app"]
        assert first["keyId"] not in (tmp_path / "keys").read_text()
        await platform.stop()
        platform.cipher = KeyFileCipher(tmp_path / "keys")
        assert await executor_key(platform.store, platform.cipher, SystemClock()) == executors
        await platform.start()
        async with session.post("/v2/apps/app/restart") as answer:
            await platform.ended(session, (await answer.json())["deploymentId"])
        [running] = [one for one in platform.engine.held.values() if not one.status.terminal]
        assert running.spec.app.env["PASSWORD"] == "new"
        async with session.delete("/v1/secrets/shop-database") as answer:
            assert answer.status == 409
            assert "/app" in (await answer.json())["message"]
