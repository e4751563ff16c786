"""The figures of `bin/bench registry`: what is computed from what was measured."""

import json

import pytest

from coldchain.testing.bench import Bar
from coldchain.testing.benches import registry
from coldchain.testing.registry_bench import Part, percentile
from coldchain.testing.registry_bench.polled import polling_ms


def test_a_percentile_is_the_smallest_that_covers_its_share() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0


def test_changes_at_any_moment_wait_half_an_interval_on_average_and_then_go_the_path() -> None:
    found = polling_ms(5.0, [20.0, 30.0], 1000)
    assert len(found) == 2000
    assert round(sum(found) / len(found), 6) == 2500.0 + 25.0
    assert (round(min(found), 6), round(max(found), 6)) == (22.5, 5027.5)


def test_a_part_that_fails_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken() -> Part:
        raise AssertionError("7 of 10 do not pass")

    async def good() -> Part:
        bar = Bar(name="good_ms", value=1.0, unit="ms", limit=2.0, better="lower", samples=10)
        return Part(bars=[bar], peers={"other": 3})

    monkeypatch.setattr(registry, "PARTS", {"broken": broken, "good": good})
    monkeypatch.setattr("sys.argv", ["registry"])
    assert registry.main() == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [bar["name"] for bar in found["bars"]] == ["good_ms"]
    assert found["peers"] == {"broken": {"failed": "AssertionError: 7 of 10 do not pass"}, "good": {"other": 3}}
    monkeypatch.setattr(registry, "PARTS", {"good": good})
    assert registry.main() == 0
