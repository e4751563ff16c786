"""The command for routes: what is written out can be changed and applied, and what is wrong is named by its line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.documents.text import parse_yaml
from coldchain.testing.command_server import SHOP, Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def file(server: Server, tmp_path: Path) -> Path:
    """What is written out with two apps there."""
    for name in ("/shop", "/cart"):
        definition = tmp_path / "app.json"
        definition.write_text(json.dumps(SHOP | {"id": name, "routes": [{"domains": [f"{name[1:]}.test"]}]}))
        assert server.run("deploy", str(definition)).exit_code == 0
    path = tmp_path / "routes.yaml"
    path.write_text(server.run("routes", "dump").stdout)
    return path


def test_what_is_written_out_is_what_there_is(server: Server, file: Path) -> None:
    dumped = parse_yaml(file.read_bytes())["apps"]
    assert {name: [one["domains"] for one in routes] for name, routes in dumped.items()} == {
        "/cart": [["cart.test"]],
        "/shop": [["shop.test"]],
    }
    assert server.json("routes", "dump") == {"apps": dumped}
    result = server.run("routes", "diff", str(file))
    assert (result.exit_code, "no change" in result.output) == (0, True), result.output
    shown = server.json("routes", "show")["domains"]
    assert [(one["app"], one["path"]) for one in shown["shop.test"]] == [("/shop", "/")]
    assert "cart.test" in server.run("routes", "show").stdout


def test_several_apps_change_together_and_no_task_is_replaced(server: Server, file: Path) -> None:
    tasks = {one.status.task_id for one in server.platform.engine.held.values()}
    text = file.read_text().replace("shop.test", "new.test").replace("cart.test", "shop.test")
    file.write_text(text)
    result = server.run("routes", "diff", str(file))
    assert result.exit_code == 1
    assert '~ /0/domains/0: "cart.test" → "shop.test"' in result.output
    result = server.run("routes", "apply", str(file))
    assert result.exit_code == 0, result.output
    domains = server.platform.controller.publisher.rotation.routes
    assert {name: [one.service for one in rules] for name, rules in domains.items()} == {
        "new.test": ["shop"],
        "shop.test": ["cart"],
    }
    assert {one.status.task_id for one in server.platform.engine.held.values()} == tasks
    assert server.run("routes", "diff", str(file)).exit_code == 0
    assert "no change" in server.run("routes", "apply", str(file)).output


def test_what_is_wrong_is_said_with_its_line_and_changes_nothing(server: Server, file: Path) -> None:
    good = file.read_text()
    before = dict(server.platform.controller.publisher.rotation.routes)
    wrong = {
        good.replace("shop.test", "Shop Test"): "routes.yaml:",
        good.replace("/cart:", "cart:"): "is no id of an app",
        good + "more: 1\n": "only `apps` is",
        "apps: []": "must name the apps",
        "apps: {/shop: 1}": "must be a list of routes",
        good.replace("cart.test", "shop.test"): "shop.test",
        "apps: {/none: []}": "there is no app /none",
    }
    for text, words in wrong.items():
        file.write_text(text)
        result = server.run("routes", "apply", str(file))
        assert (result.exit_code != 0, words in result.output) == (True, True), (text, result.output)
    assert server.platform.controller.publisher.rotation.routes == before
    for arguments in (["show", str(file)], ["diff"], ["apply", "/none/such"]):
        assert server.run("routes", *arguments).exit_code == 2
