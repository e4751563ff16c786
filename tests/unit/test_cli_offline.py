"""Commands that need no platform: init writes what validate finds good; validate tells everything that is not."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from coldchain.cli.application import application
from coldchain.cli.init import EXAMPLES
from coldchain.documents.application import decode_yaml


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(application, [str(one) for one in arguments])


def test_init_writes_a_definition_that_is_valid_and_safe(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop_2"
    result = run("init", folder)
    assert result.exit_code == 0, result.output
    file = folder / "coldchain.yaml"
    app = decode_yaml(file.read_text())
    assert (app.id, app.instances) == ("/my-shop-2", 2)
    assert app.health_checks
    checked = run("validate", file)
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert checked.stdout == f"{file}: /my-shop-2 is valid\n"


def test_init_takes_what_is_to_be_run(tmp_path: Path) -> None:
    options = ("--id", "shop/cart", "--image", "shop:v1", "--port", "8080", "--health", "/health")
    said = json.loads(run("init", tmp_path, *options, "--json").stdout)
    assert said == {"file": str(tmp_path / "coldchain.yaml"), "id": "/shop/cart"}
    app = decode_yaml((tmp_path / "coldchain.yaml").read_text())
    assert app.container is not None
    assert (app.container.docker.image, app.container.port_mappings[0].container_port) == ("shop:v1", 8080)
    assert (app.health_checks[0].path, app.env, app.routes[0].domains) == (
        "/health",
        {"PORT": "8080"},
        ("cart-shop.localhost",),
    )


def test_init_overwrites_nothing_and_writes_nothing_wrong(tmp_path: Path) -> None:
    file = tmp_path / "coldchain.yaml"
    wrong = run("init", tmp_path, "--image", "Shop:v1", "--health", "health")
    assert wrong.exit_code == 2
    assert "did you mean 'shop:v1'?" in wrong.stderr
    assert "/healthChecks/0/path" in wrong.stderr
    assert not file.exists()
    file.write_text("mine")
    result = run("init", tmp_path)
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert file.read_text() == "mine"
    assert run("init", file / "below").exit_code == 2


def test_the_examples_of_all_languages_say_the_same() -> None:
    first, *others = [decode_yaml(_filled(path)) for path in sorted(EXAMPLES.iterdir())]
    assert others == [first]


def _filled(path: Path) -> str:
    text = path.read_text().replace("$id", "/x").replace("$image", "x").replace("$port", "80")
    return text.replace("$health", "/").replace("$domain", "x.localhost")


def test_validate_tells_every_mistake_and_ends_with_2(tmp_path: Path) -> None:
    bad, missing = tmp_path / "bad.yaml", tmp_path / "missing.yaml"
    bad.write_text("id: /Shop\ninstances: four\ncontainer: {docker: {image: x}}\n")
    result = run("validate", bad, missing)
    assert result.exit_code == 2
    assert f"{bad}:2: /instances: must be a whole number" in result.stderr
    assert f"{bad}:1: /id: " in result.stderr
    assert f"{missing}: cannot be read" in result.stderr
    said = run("validate", bad, missing, "--json")
    assert said.exit_code == 2
    document = json.loads(said.stdout)
    assert document["valid"] is False
    assert {(one["source"], one["line"], one["path"]) for one in document["mistakes"]} == {
        (str(bad), 1, "/id"),
        (str(bad), 2, "/instances"),
        (str(missing), None, None),
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_validate_warns_of_a_missing_health_check(tmp_path: Path, as_json: bool) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("{id: /x, container: {docker: {image: x}}}")
    result = run("validate", file, *(["--json"] if as_json else []))
    assert result.exit_code == 0
    if as_json:
        assert json.loads(result.stdout)["apps"] == [{"source": str(file), "id": "/x", "checked": False}]
    else:
        assert "warning: /x has no health check" in result.stderr
