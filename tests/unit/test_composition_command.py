"""What `coldchain composition` says before it serves: every mistake of its file, by path, and of its options."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from coldchain.main.command import application

EXAMPLE = Path(__file__).parents[2] / "examples" / "04-composition" / "product.yaml"
ROOTS = "body, headers, missing, parameters, steps"


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(application, ["composition", *words])
    return result.exit_code, result.output


def test_a_valid_file() -> None:
    assert run(str(EXAMPLE), "--check") == (0, f"{EXAMPLE}: 2 compositions are valid\n")


@pytest.mark.parametrize("options", [["--check"], []])
def test_a_wrong_file_is_not_served_and_every_mistake_is_said(tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(EXAMPLE.read_text().replace("path: /sums", "path: sums").replace("steps.item.name", "nam"))
    status, said = run(str(file), *options)
    assert (status, said.splitlines()) == (
        2,
        [
            f"{file}: /compositions/0/answer: there is no 'nam' here; there are {ROOTS}",
            f"{file}: /compositions/1/path: must begin with `/`",
        ],
    )


def test_what_is_no_file_of_compositions(tmp_path: Path) -> None:
    status, said = run(str(tmp_path / "none.yaml"))
    assert (status, "cannot be read: No such file" in said) == (2, True)
    file = tmp_path / "broken.yaml"
    file.write_text("a: [")
    status, said = run(str(file))
    assert (status, "broken.yaml: line 2" in said) == (2, True)
    status, said = run(str(EXAMPLE), "--listen", "8090")
    assert (status, "HOST:PORT" in said) == (2, True)
