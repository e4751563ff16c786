"""A file that holds a group: checked, compared and deployed as a whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coldchain.testing.command_server import Server

IMAGE = {"container": {"docker": {"image": "shop:v1"}}}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def saved(folder: Path, *apps: dict[str, Any], **fields: Any) -> str:
    file = folder / "group.json"
    nested = [{"id": "back", "apps": [{"id": "db", **IMAGE}]}]
    file.write_text(json.dumps({"id": "/shop", "apps": list(apps), "groups": nested} | fields, indent=1))
    return str(file)


WEB = {"id": "web", **IMAGE, "dependencies": ["back"]}
CHECK = {"protocol": "COMMAND", "command": {"value": "x"}, "gracePeriodSeconds": 0.1, "intervalSeconds": 0.05}
SLOW = WEB | {"healthChecks": [CHECK], "env": {"HEALTH": "never"}}


def test_a_group_is_deployed_as_one_and_followed_to_its_end(server: Server, tmp_path: Path) -> None:
    said = server.done("deploy", saved(tmp_path, WEB))
    assert said == "/shop: change succeeded, 2 serving\n"
    apps = server.json("status")["apps"]
    assert [(one["id"], one["condition"]) for one in apps] == [("/shop/back/db", "running"), ("/shop/web", "running")]
    assert server.done("deploy", saved(tmp_path, WEB)) == said, "nothing is changed, and two serve on"


def test_the_status_of_a_group_is_that_of_its_apps(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path, WEB))
    server.done("deploy", saved(tmp_path, id="/shop-2"))
    _header, *rows = server.done("status", "shop").splitlines()
    assert [row.split()[0] for row in rows] == ["/shop/back/db", "/shop/web", "/shop/back/db:", "/shop/web:"]
    assert [one["id"] for one in server.json("status", "/shop/back")["apps"]] == ["/shop/back/db"]
    assert server.run("status", "/sho").exit_code == 1


def test_what_is_asked_of_a_running_deployment_finds_it_by_its_group(server: Server, tmp_path: Path) -> None:
    server.run("deploy", "--detach", saved(tmp_path, SLOW))
    assert "paused" in server.run("pause", "/shop").stderr
    assert server.done("cancel", "shop").startswith("/shop: rollback succeeded")


def test_what_others_depend_on_is_sent_first(server: Server, tmp_path: Path) -> None:
    def single(app_id: str, *dependencies: str) -> str:
        file = tmp_path / f"{app_id.replace('/', '_')}.json"
        file.write_text(json.dumps({"id": app_id, **IMAGE, "dependencies": dependencies}))
        return str(file)

    shop = saved(tmp_path, WEB, dependencies=["/base/z"])
    files = [single("/front", "/shop/back"), shop, single("/base/a", "/base/z"), single("/base/z"), single("/other")]
    said = server.done("deploy", *files)
    names = [line.partition(":")[0] for line in said.splitlines()]
    assert names == ["/base/z", "/other", "/shop", "/base/a", "/front"]
    circle = [single("/x", "/y"), single("/y", "/x")]
    assert "there is no app and no group /y" in server.run("deploy", *circle).stderr


def test_one_that_does_not_become_healthy_is_told_with_its_app(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path, WEB))
    result = server.run("deploy", saved(tmp_path, SLOW | {"deadlineSeconds": 0.5}))
    assert result.exit_code == 1
    assert "/shop: change failed: /shop/web: " in result.stderr
    assert "/shop: it was taken back" in result.stderr
    assert "`coldchain status /shop/web` shows more" in result.stderr


def test_what_a_group_would_change_has_what_it_would_take_away(server: Server, tmp_path: Path) -> None:
    file = saved(tmp_path, WEB)
    assert server.run("diff", file).stdout == "/shop/web: new app\n/shop/back/db: new app\n"
    server.done("deploy", file)
    assert server.done("diff", file) == "/shop/web: no change\n/shop/back/db: no change\n"
    result = server.run("diff", saved(tmp_path, WEB | {"instances": 2}, groups=[]))
    assert result.exit_code == 2, "what it depends on would be gone"
    file = saved(tmp_path, WEB | {"instances": 2, "dependencies": []}, groups=[])
    result = server.run("diff", file)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "/shop/web: 2 changes",
        '  - /dependencies/0: "/shop/back"',
        "  ~ /instances: 1 → 2",
        "/shop/back/db: removed with its group",
    ]


def test_mistakes_are_told_by_line_and_path(server: Server, tmp_path: Path) -> None:
    result = server.run("validate", saved(tmp_path, WEB | {"cpus": 0}))
    assert result.exit_code == 2
    assert "group.json:14: /apps/0/cpus: must be at least 0.001" in result.stderr
    assert "group.json:1: /id: a group needs an id" in server.run("validate", saved(tmp_path, WEB, id=None)).stderr
    said = server.run("validate", saved(tmp_path, WEB)).stdout
    assert [line.partition(": ")[2] for line in said.splitlines()] == ["/shop/web is valid", "/shop/back/db is valid"]
