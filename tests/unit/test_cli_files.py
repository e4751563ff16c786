"""Definitions are read from files of every kind, and mistakes are told by file and line."""

import io
from pathlib import Path

import pytest

from coldchain.cli.errors import Invalid
from coldchain.cli.files import read_definitions

YAML = """\
id: /shop
container:
  docker: {image: "shop:v1"}
  portMappings:
    - {containerPort: 80, name: http}
healthChecks:
  - path: /health
    portName: htp
"""
JSON = '{"id": "/cart",\n "container": {"docker": {"image": "cart:v1"}}}'


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def mistakes(*paths: Path) -> list[str]:
    with pytest.raises(Invalid) as caught:
        read_definitions(list(paths))
    return caught.value.lines


def test_one_or_several_apps_in_json_and_yaml(tmp_path: Path) -> None:
    good = YAML.replace("htp", "http")
    files = [
        write(tmp_path, "shop.yaml", good),
        write(tmp_path, "cart.json", JSON),
        write(tmp_path, "list.json", f"[{JSON.replace('cart', 'a')}, {JSON.replace('cart', 'b')}]"),
        write(tmp_path, "apps.yml", "apps:\n  - {id: /c, container: {docker: {image: c}}}\n"),
    ]
    found = read_definitions(files)
    assert [one.app_id for one in found] == ["/shop", "/cart", "/a", "/b", "/c"]
    assert [one.checked for one in found] == [True, False, False, False, False]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(JSON.encode())))
    [one] = read_definitions([Path("-")])
    assert one.app_id == "/cart"


def test_mistakes_have_file_line_path_and_what_was_meant(tmp_path: Path) -> None:
    path = write(tmp_path, "shop.yaml", YAML)
    [said] = mistakes(path)
    assert said.startswith(f"{path}:8: /healthChecks/0/portName: ")
    assert "did you mean 'http'?" in said


def test_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    list_of = write(tmp_path, "list.json", f"[{JSON},\n{JSON.replace('/cart', '/Cart')}]")
    broken = write(tmp_path, "broken.json", '{"id": "/x",')
    twice = write(tmp_path, "twice.json", JSON)
    said = mistakes(list_of, broken, twice)
    assert said[0].startswith(f"{list_of}:3: /id: ")
    assert said[1].startswith(f"{broken}: line 1, column 13: ")
    assert said[2] == f"{twice}: /cart is defined in {list_of} already"


def test_what_is_no_app_at_all(tmp_path: Path) -> None:
    text = write(tmp_path, "text.yaml", "hello")
    assert mistakes(text) == [f"{text}:1: an app definition must be an object"]
    assert mistakes(write(tmp_path, "empty.json", ""))
    missing = tmp_path / "none.yaml"
    assert mistakes(missing, tmp_path) == [
        f"{missing}: cannot be read: No such file or directory",
        f"{tmp_path}: cannot be read: Is a directory",
    ]


def test_two_files_cannot_have_the_same_route(tmp_path: Path) -> None:
    routed = YAML.replace("htp", "http") + "routes:\n  - {domains: [shop.example]}\n"
    files = [write(tmp_path, name, routed.replace("/shop", f"/{name}")) for name in ("a", "b")]
    assert mistakes(*files) == [f"{files[1]}:10: /routes/0/domains/0: shop.example/ belongs to /a"]
