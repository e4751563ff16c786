"""What the page about policy says of ports is what decides."""

import re
from pathlib import Path

import pytest

from coldchain.decisions.policy import INFRASTRUCTURE, OWN_SERVICES

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "policy.md"


@pytest.mark.parametrize(
    ("begins", "ports"),
    [
        ("Containers reach what is outside", INFRASTRUCTURE),
        ("Containers of a network made with `--isolated`", OWN_SERVICES),
    ],
)
def test_ports_on_the_page_are_those_that_decide(begins: str, ports: tuple[str, ...]) -> None:
    (said,) = [one for one in PAGE.read_text().split("\n- ") if one.startswith(begins)]
    in_words = [one.replace(" to ", "-") for one in re.findall(r"\d+ to \d+|\d+", said.partition("\n\n")[0])]
    assert sorted(_each(in_words)) == sorted(_each(ports))


def _each(ports: tuple[str, ...] | list[str]) -> list[int]:
    found: list[int] = []
    for one in ports:
        first, _, last = one.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
