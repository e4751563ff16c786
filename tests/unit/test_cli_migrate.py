"""`coldchain migrate marathon` against servers that answer what a Marathon does, or what it should not; and against
Coldchain itself, whose API is Marathon's."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from coldchain.cli import marathon
from coldchain.cli.application import application
from coldchain.documents.application import decode_yaml
from coldchain.testing.command_server import SHOP, Server

INFO = {"name": "marathon", "version": "1.8.222", "frameworkId": "f-1", "elected": True, "marathon_config": {}}
WEB: dict[str, Any] = {
    "id": "/shop/web",
    "cpus": 0.1,
    "mem": 64,
    "instances": 1,
    "container": {"type": "DOCKER", "docker": {"image": "web:v1"}},
    "ipAddress": {"groups": ["dmz"]},
    "version": "2021-07-01T10:00:00.000Z",
}
DATABASE = WEB | {"id": "/shop/db", "residency": {"taskLostBehavior": "WAIT_FOREVER"}}
GROUPS = {
    "id": "/",
    "dependencies": [],
    "groups": [{"id": "/shop", "dependencies": ["/base"], "groups": [{"id": "/shop/inner", "groups": []}]}],
}


ANN = "Basic YW5uOnJpZ2h0"
"""She has the password `right`."""


class Marathon:
    """Answers `pages` by path, each JSON, a response, or a handler; and keeps what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {
            "/v2/info": INFO,
            "/v2/apps": {"apps": [WEB]},
            "/v2/groups": GROUPS,
            "/v2/pods": [],
            "/v2/deployments": [],
        }
        self.asked: list[tuple[str, str | None]] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _start(self) -> int:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("Authorization")))
        page = self.pages.get(request.path)
        if page is None:
            return web.json_response({"message": "not found"}, status=404)
        if callable(page):
            response: web.StreamResponse = await page(request)
            return response
        return web.json_response(page)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def source() -> Iterator[Marathon]:
    one = Marathon()
    yield one
    one.close()


@pytest.fixture
def leader() -> Iterator[Marathon]:
    one = Marathon()
    yield one
    one.close()


def migrate(url: str, folder: Path, *options: str, given: str | None = None, **environment: str) -> Result:
    arguments = ["migrate", "marathon", url, "--output", str(folder), *options]
    return CliRunner().invoke(application, arguments, input=given, env=environment)


def outcomes(url: str, folder: Path, *options: str) -> dict[str, tuple[str, bool]]:
    """By app: what became of its file, and whether it was rejected."""
    said = json.loads(migrate(url, folder, "--json", *options).stdout)
    return {one["id"]: (one["state"], bool(one["rejected"])) for one in said["apps"]}


def validate(*files: Path) -> Result:
    return CliRunner().invoke(application, ["validate", *map(str, files)])


def test_each_app_becomes_a_file_and_what_does_not_carry_over_is_said(source: Marathon, tmp_path: Path) -> None:
    source.pages |= {
        "/v2/apps": {"apps": [WEB, DATABASE]},
        "/v2/pods": [{"id": "/pod"}],
        "/v2/deployments": [{"id": "d", "affectedApps": ["/shop/web"]}],
    }
    folder = tmp_path / "new" / "marathon"
    result = migrate(source.url, folder)
    assert result.exit_code == 1, result.output
    assert sorted(one.name for one in folder.iterdir()) == ["shop_db.yaml.rejected", "shop_web.yaml"]
    file = folder / "shop_web.yaml"
    assert f"/shop/web: {file} written" in result.stdout
    assert '  left out: /ipAddress/groups: ["dmz"] does not carry over' in result.stdout
    assert "  changed: /dependencies: the group /shop waits for /base" in result.stdout
    assert "  rejected: /residency: " in result.stdout
    assert "warning: pods are not read, and Coldchain has none: /pod" in result.stderr
    assert (
        "warning: deployments change these apps just now; run it again when they have ended: /shop/web" in result.stderr
    )
    assert "1 written, 0 unchanged, 0 left alone, 1 rejected" in result.stderr
    assert '# - /ipAddress/groups: ["dmz"] does not carry over' in file.read_text()
    assert f"/shop/web of {source.url}" in file.read_text()
    assert validate(file).exit_code == 0
    assert "residency:" in (folder / "shop_db.yaml.rejected").read_text()


def test_what_it_says_as_json(source: Marathon, tmp_path: Path) -> None:
    source.pages |= {"/v2/apps": {"apps": [WEB]}, "/v2/groups": {"id": "/"}}
    said = json.loads(migrate(source.url, tmp_path, "--json").stdout)
    [note] = said["apps"][0].pop("notes")
    assert said == {
        "source": source.url,
        "apps": [
            {"id": "/shop/web", "file": str(tmp_path / "shop_web.yaml"), "state": "written", "rejected": []},
        ],
        "pods": [],
        "changing": [],
        "gone": [],
    }
    assert (note["path"], note["kind"]) == ("/ipAddress/groups", "left out")
    assert note.keys() == {"path", "kind", "reason", "todo"}


def test_a_second_run_writes_what_changed_and_leaves_alone_what_somebody_changed(
    source: Marathon, tmp_path: Path
) -> None:
    assert outcomes(source.url, tmp_path) == {"/shop/web": ("written", False)}
    file = tmp_path / "shop_web.yaml"
    first = file.read_text()
    assert outcomes(source.url, tmp_path) == {"/shop/web": ("unchanged", False)}
    assert file.read_text() == first
    source.pages["/v2/apps"] = {"apps": [WEB | {"instances": 4}]}
    assert outcomes(source.url, tmp_path) == {"/shop/web": ("written", False)}
    assert decode_yaml(file.read_text()).instances == 4
    mine = file.read_text().replace("instances: 4", "instances: 7")
    file.write_text(mine)
    result = migrate(source.url, tmp_path)
    assert result.exit_code == 1
    assert "was changed by somebody and is left alone; --force writes it anew" in result.stdout
    assert file.read_text() == mine
    assert outcomes(source.url, tmp_path, "--force") == {"/shop/web": ("written", False)}
    assert decode_yaml(file.read_text()).instances == 4


def test_a_rejected_app_that_becomes_one_and_one_that_somebody_mended(source: Marathon, tmp_path: Path) -> None:
    rejected, definition = tmp_path / "shop_db.yaml.rejected", tmp_path / "shop_db.yaml"
    source.pages["/v2/apps"] = {"apps": [DATABASE]}
    assert outcomes(source.url, tmp_path) == {"/shop/db": ("written", True)}
    source.pages["/v2/apps"] = {"apps": [WEB | {"id": "/shop/db"}]}
    assert outcomes(source.url, tmp_path) == {"/shop/db": ("written", False)}
    assert [one.name for one in tmp_path.iterdir()] == [definition.name]
    source.pages["/v2/apps"] = {"apps": [DATABASE]}
    assert outcomes(source.url, tmp_path) == {"/shop/db": ("written", True)}
    mended = "id: /shop/db\ncontainer: {docker: {image: db}}\n"
    rejected.unlink()
    definition.write_text(mended)
    assert outcomes(source.url, tmp_path) == {"/shop/db": ("kept", True)}
    assert [one.name for one in tmp_path.iterdir()] == [definition.name]
    assert definition.read_text() == mended
    assert outcomes(source.url, tmp_path, "--force") == {"/shop/db": ("written", True)}
    assert [one.name for one in tmp_path.iterdir()] == [rejected.name]


def test_an_app_that_is_gone_is_named_and_files_of_others_are_not(source: Marathon, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("id: /mine\n")
    source.pages["/v2/apps"] = {"apps": [WEB, WEB | {"id": "/old"}]}
    migrate(source.url, tmp_path)
    source.pages["/v2/apps"] = {"apps": [WEB]}
    assert json.loads(migrate(source.url, tmp_path, "--json").stdout)["gone"] == [str(tmp_path / "old.yaml")]
    assert "old.yaml is of an app that is not there any more" in migrate(source.url, tmp_path).stderr
    assert (tmp_path / "old.yaml").exists()


def test_ids_of_others_write_nothing_elsewhere_and_nothing_to_the_terminal(source: Marathon, tmp_path: Path) -> None:
    source.pages["/v2/apps"] = {"apps": [WEB | {"id": "/../../evil"}, WEB | {"id": "/a\x1b[2J\x9b"}, 7]}
    folder = tmp_path / "a" / "b"
    result = migrate(source.url, folder)
    assert result.exit_code == 1
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    assert len([one for one in folder.iterdir() if one.name.endswith(".yaml.rejected")]) == 3
    assert not {"\x1b", "\x9b"} & set(result.output)


@pytest.mark.parametrize(
    ("options", "environment", "given", "exit_code"),
    [
        ((), {}, None, 1),
        (("--user", "ann"), {"COLDCHAIN_MARATHON_PASSWORD": "right"}, None, 0),
        (("--user", "ann"), {}, "right\n", 0),
        (("--user", "ann"), {"COLDCHAIN_MARATHON_PASSWORD": "wrong"}, None, 1),
    ],
)
def test_a_marathon_with_credentials(
    source: Marathon,
    tmp_path: Path,
    options: tuple[str, ...],
    environment: dict[str, str],
    given: str | None,
    exit_code: int,
) -> None:
    source.pages |= {path: _guarded(page) for path, page in source.pages.items()}
    result = migrate(source.url, tmp_path / "out", *options, given=given, **environment)
    assert result.exit_code == exit_code, result.output
    assert "right" not in result.output
    assert "wrong" not in result.output
    if exit_code:
        assert not (tmp_path / "out").exists()
        assert ("ann" in result.stderr) == bool(options)
        assert "status 401" in result.stderr


def _guarded(page: Any) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != ANN:
            return web.Response(status=401, text="no")
        return web.json_response(page)

    return answer


def _redirect(url: str) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": url + request.path_qs if url else "gopher://a/"})

    return answer


def test_a_standby_redirects_to_the_leader_who_is_not_told_the_password(
    source: Marathon, leader: Marathon, tmp_path: Path
) -> None:
    source.pages = dict.fromkeys(source.pages, _redirect(leader.url))
    plain = migrate(source.url, tmp_path)
    assert plain.exit_code == 0, plain.output
    assert (tmp_path / "shop_web.yaml").exists()
    leader.pages |= {path: _guarded(page) for path, page in leader.pages.items()}
    leader.asked.clear()
    result = migrate(source.url, tmp_path, "--user", "ann", COLDCHAIN_MARATHON_PASSWORD="right")
    assert result.exit_code == 1
    assert "give the leader's own address" in result.stderr
    assert source.asked[-1][1] == ANN
    assert leader.asked == [("/v2/info", None)]
    direct = migrate(leader.url, tmp_path, "--user", "ann", COLDCHAIN_MARATHON_PASSWORD="right")
    assert direct.exit_code == 0, direct.output


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def _silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def _page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>welcome</html>", content_type="text/html")


async def _nobody_leads(request: web.Request) -> web.StreamResponse:
    return web.json_response({"message": "Could not determine the current leader"}, status=502)


async def _truncated(request: web.Request) -> web.StreamResponse:
    return web.Response(text='{"apps": [', content_type="application/json")


async def _deep(request: web.Request) -> web.StreamResponse:
    return web.Response(text="[" * 100_000, content_type="application/json")


@pytest.mark.parametrize(
    ("path", "page", "exit_code", "words"),
    [
        ("/v2/info", _page, 3, "`/v2/info` gave text/html, not JSON"),
        ("/v2/info", None, 3, "`/v2/info` gave status 404"),
        ("/v2/info", {"version": "1"}, 3, "`/v2/info` is not what a Marathon answers"),
        ("/v2/info", [INFO], 3, "`/v2/info` is not what a Marathon answers"),
        ("/v2/info", _nobody_leads, 3, "`/v2/info` gave status 502"),
        ("/v2/info", _redirect(""), 3, "it redirects to what is no address"),
        ("/v2/apps", {"apps": {}}, 3, "`/v2/apps` is not what a Marathon answers"),
        ("/v2/apps", [], 3, "`/v2/apps` is not what a Marathon answers"),
        ("/v2/apps", _truncated, 3, "not JSON"),
        ("/v2/apps", _deep, 3, "not JSON"),
        ("/v2/apps", _endless, 3, "an answer is larger than 1 MiB"),
        ("/v2/groups", _silent, 4, "did not answer within 0.5 s"),
        ("/v2/pods", _nobody_leads, 3, "`/v2/pods` gave status 502"),
    ],
)
def test_what_is_no_marathon_writes_nothing(
    source: Marathon,
    tmp_path: Path,
    path: str,
    page: Any,
    exit_code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marathon, "ANSWER_BYTES_MAX", 1024**2)
    source.pages[path] = page
    timeout = "0.5" if page is _silent else "20"
    result = migrate(source.url, tmp_path / "out", "--timeout", timeout)
    assert (result.exit_code, result.stdout) == (exit_code, ""), result.output
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_redirects_in_a_circle_end(source: Marathon, tmp_path: Path) -> None:
    source.pages["/v2/info"] = _redirect(source.url)
    result = migrate(source.url, tmp_path)
    assert (result.exit_code, "it redirects more than 5 times" in result.stderr) == (3, True), result.output
    assert len(source.asked) == 6


def test_an_old_marathon_has_neither_groups_nor_pods(source: Marathon, tmp_path: Path) -> None:
    for path in ("/v2/groups", "/v2/pods"):
        del source.pages[path]
    assert migrate(source.url, tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://marathon.test", "is no address"),
        ("http://", "is no address"),
        ("http://marathon.test:port", "is no address"),
        ("http://marathon.test/?x=1", "is no address"),
        ("http://ann:right@marathon.test", "the address has credentials in it"),
    ],
)
def test_what_is_no_address(tmp_path: Path, url: str, words: str) -> None:
    result = migrate(url, tmp_path)
    assert (result.exit_code, words in result.stderr, "right" in result.output) == (2, True, False), result.output


def test_nobody_answers_and_nothing_can_be_written(source: Marathon, tmp_path: Path, free_port: Any) -> None:
    silent = migrate(f"127.0.0.1:{free_port()}", tmp_path)
    assert (silent.exit_code, "no Marathon answers at http://127.0.0.1:" in silent.stderr) == (3, True)
    file = tmp_path / "file"
    file.write_text("mine")
    result = migrate(source.url, file)
    assert (result.exit_code, f"cannot write {file}" in result.stderr) == (2, True), result.output
    assert file.read_text() == "mine"


APPS: tuple[dict[str, Any], ...] = (
    SHOP,
    {
        "id": "/group/worker",
        "cmd": "exec ./worker --queue 012",
        "instances": 2,
        "cpus": 0.25,
        "env": {"ON": "on", "MULTI": "a\n  b\n"},
        "labels": {"team": "web"},
        "portDefinitions": [],
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25},
    },
    {
        "id": "/group/inner/api",
        "instances": 0,
        "args": ["serve", "--port", "8080"],
        "container": {
            "docker": {"image": "api:v2", "parameters": [{"key": "init", "value": "true"}]},
            "portMappings": [{"containerPort": 8080, "name": "http-api", "labels": {"a": "b"}}],
        },
        "healthChecks": [{"protocol": "TCP", "portName": "http-api", "gracePeriodSeconds": 5}],
        "readinessChecks": [{"path": "/ready"}],
        "constraints": [["hostname", "unique"]],
        "rollout": {"steps": [{"share": 0.5}]},
        "service": "api",
        "drainSeconds": 5,
    },
)


def test_from_one_platform_to_another_the_definitions_are_equal(tmp_path: Path) -> None:
    """Coldchain speaks Marathon's API, so that it can be read as one."""
    first, second = Server(), Server()
    try:
        for position, app in enumerate(APPS):
            file = tmp_path / f"{position}.json"
            file.write_text(json.dumps(app))
            first.done("deploy", str(file))
        folder = tmp_path / "out"
        result = migrate(first.platform.url, folder)
        assert result.exit_code == 0, result.output
        files = sorted(folder.iterdir())
        assert [one.name for one in files] == ["group_inner_api.yaml", "group_worker.yaml", "shop.yaml"]
        second.done("deploy", *map(str, files))
        meant, got = (
            {version.app.id: version.app for version in map(state.wanted, sorted(state.apps)) if version is not None}
            for state in (first.platform.controller.state, second.platform.controller.state)
        )
        assert len(meant) == 3
        assert got == meant
    finally:
        first.close()
        second.close()
