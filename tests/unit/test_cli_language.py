"""The commands speak the user's language; a message that is used and not translated fails here, as does one that names
other fields than the English one."""

import os
import subprocess
import sys
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from coldchain.cli.language import CATALOGUES
from coldchain.testing.messages import messages

ROOT = Path(__file__).parents[2]
SOURCES = sorted(CATALOGUES.glob("*/LC_MESSAGES/coldchain.po"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogues as the build makes them."""
    folder = tmp_path_factory.mktemp("locale")
    program = "import sys, pathlib, hatch_build; hatch_build.compile_catalogues(*map(pathlib.Path, sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", program, str(CATALOGUES), str(folder)], check=True, cwd=ROOT)
    return folder


def catalogue(source: Path) -> Catalog:
    with source.open("rb") as opened:
        return read_po(opened, abort_invalid=True)


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_there_is_chinese() -> None:
    assert [source.parts[-3] for source in SOURCES] == ["zh"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.parts[-3])
def test_every_message_is_translated_and_no_other(source: Path) -> None:
    translated: set[str] = set()
    for message in catalogue(source):
        if message.id:
            translated |= {message.id} if isinstance(message.id, str) else set(message.id)
            assert all([message.string] if isinstance(message.string, str) else message.string), message.id
            assert not message.fuzzy, message.id
    used = messages()
    assert used - translated == set(), f"add these to {source.relative_to(ROOT)}"
    assert translated - used == set(), f"nothing says these any more: take them out of {source.relative_to(ROOT)}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.parts[-3])
def test_translations_have_the_same_fields(source: Path) -> None:
    for message in catalogue(source):
        originals = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string)
        for text in strings:
            assert fields(text) == set().union(*map(fields, originals)), originals


def said(compiled: Path, language: dict[str, str], *arguments: str) -> str:
    program = (
        "import sys; from pathlib import Path; from coldchain.cli import language;"
        "language.CATALOGUES = Path(sys.argv.pop(1)); from coldchain.main.command import main; main()"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONUTF8": "1"} | language
    command = [sys.executable, "-c", program, str(compiled), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("language", "chinese"),
    [
        ({"LC_ALL": "zh_CN.UTF-8"}, True),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, False),
        ({"LC_ALL": "fr_FR.UTF-8"}, False),
        ({}, False),
    ],
)
def test_the_environment_chooses_the_language(compiled: Path, language: dict[str, str], chinese: bool) -> None:
    text = said(compiled, language, "validate", "nothing.yaml")
    expected = "错误：这些定义不能部署；什么都没有改变" if chinese else "error: the definitions cannot be deployed"
    assert text.startswith(expected)
    assert "nothing.yaml: " in text


def test_help_is_in_chinese_down_to_its_frames(compiled: Path) -> None:
    text = said(compiled, {"LC_ALL": "zh_CN.UTF-8", "COLUMNS": "200"}, "scale", "--help")
    for expected in ("改变实例数", "参数", "选项", "应用的 id"):
        assert expected in text
    assert "Change the number" not in text


def test_init_writes_its_comments_in_chinese(compiled: Path, tmp_path: Path) -> None:
    assert "已写出" in said(compiled, {"LC_ALL": "zh_CN.UTF-8"}, "init", str(tmp_path))
    assert "健康检查" in (tmp_path / "coldchain.yaml").read_text()
