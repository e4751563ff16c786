"""The parts of the API that are text only: label selectors, and the metrics Prometheus reads."""

import re

import pytest

from coldchain.api.selectors import app_selector, label_selector
from coldchain.documents.metrics import Metric, render
from coldchain.model.app import App
from coldchain.model.errors import MalformedDocument

APP = App(id="/a/web", cmd="run web", labels={"tier": "web", "zone": "a", "empty": ""})


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("tier", True),
        ("nothing", False),
        ("tier==web", True),
        ("tier == db", False),
        ("tier!=db", True),
        ("nothing!=db", True),
        ("zone in (a, b)", True),
        ("zone in (b,c)", False),
        ("zone notin (b, c)", True),
        ("zone notin (a)", False),
        ("tier==web, zone in (a)", True),
        ("tier==web,zone==b", False),
    ],
)
def test_label_selectors(selector: str, matches: bool) -> None:
    assert label_selector(selector)(APP) is matches


@pytest.mark.parametrize("selector", ["", "==x", "a==", "a in", "a in ()", "a b", "a==b c==d", "a,,b", "(a)"])
def test_selectors_that_cannot_be_read(selector: str) -> None:
    with pytest.raises(MalformedDocument, match="selector"):
        label_selector(selector)


def test_id_and_command_match_by_a_part() -> None:
    assert app_selector("web", "run", "tier")(APP)
    assert not app_selector("db", None, None)(APP)
    assert not app_selector(None, "stop", None)(APP)


def test_metrics_are_written_as_prometheus_reads_them() -> None:
    text = render(
        [
            Metric("things", "gauge", "How many\nthings \\ there are.", {(): 3}),
            Metric("seen_total", "counter", "Seen.", {(("name", 'a"b\\c\n'), ("x", "y")): 12345678901, (): 0.5}),
        ]
    )
    assert text == (
        "# HELP things How many\\nthings \\\\ there are.\n"
        "# TYPE things gauge\n"
        "things 3\n"
        "# HELP seen_total Seen.\n"
        "# TYPE seen_total counter\n"
        'seen_total{name="a\\"b\\\\c\\n",x="y"} 12345678901\n'
        "seen_total 0.5\n"
    )
    assert all(re.fullmatch(r"#.*|[a-z_]+(\{.*\})? \S+", line) for line in text.splitlines())
