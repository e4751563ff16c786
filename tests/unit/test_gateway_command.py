"""`coldchain gateway`: what it is told, how systemd starts it, and which of several controllers feeds it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coldchain.gateway.settings import GatewayMemory
from coldchain.gateway.several_feeds import WAIT_SECONDS_MAX, SeveralFeeds
from coldchain.main.command import application
from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.main.gateway_unit import gateway_unit
from coldchain.main.settings import PlatformSettings
from coldchain.model.errors import InvalidDocument, Rejected, Unavailable
from coldchain.model.rotation import GatewayReport, RotationUpdate

REPORT = GatewayReport(gateway="one", applied=0)
GOOD = GatewayProcessSettings(controllers=("https://10.0.0.1:8080",), name="one")


def test_every_bad_option_is_named_at_once(tmp_path: Path) -> None:
    settings = GatewayProcessSettings(
        controllers=("10.0.0.1:8080", "https://10.0.0.1:8080/v2", "http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        authority=tmp_path / "nobody.pem",
        name="a/b",
        listen=("gateway:80",),
        tls_listen=("0.0.0.0:0",),
        status="10.0.0.1:8081",
        trusted_proxies=("everybody",),
        mark_trusted=("10.0.0.0/99",),
        mark_header="Host",
        memory=GatewayMemory(rotation=1, nonces=1),
        drain_seconds=-1.0,
    )
    with pytest.raises(InvalidDocument) as caught:
        settings.check()
    assert [one.path for one in caught.value.problems] == [
        "--controller",
        "--controller",
        "--controller",
        "--name",
        "--drain-seconds",
        "--status",
        "--listen",
        "--listen-tls",
        "--mark-header",
        "--trusted-proxy",
        "--mark-trusted",
        "--memory",
        "--memory",
        "--authority",
    ]
    GOOD.check()


def test_a_token_that_can_be_read_on_the_way_is_noticed() -> None:
    controllers = ("https://10.0.0.1:8080", "http://10.0.0.2:8080", "http://127.0.0.1:8080")
    assert GatewayProcessSettings(controllers=controllers, token="t").readable == ("http://10.0.0.2:8080",)
    assert GatewayProcessSettings(controllers=controllers).readable == ()


def test_systemd_waits_as_long_as_leaving_takes() -> None:
    lines = gateway_unit("/usr/bin/python3 -m coldchain gateway --name 50%", GOOD).splitlines()
    assert "ExecStart=/usr/bin/python3 -m coldchain gateway --name 50%%" in lines
    assert "TimeoutStopSec=55" in lines
    assert "KillMode=process" in lines


def test_a_file_of_a_token_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(application, ["gateway", "--controller", "http://a:1", "--token-file", "/nowhere"])
    assert result.exit_code == 2
    assert "/nowhere" in result.output


def test_the_platform_believes_a_balancer_before_its_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[PlatformSettings] = []
    monkeypatch.setattr("coldchain.main.command._run_platform", given.append)
    for words in (
        [],
        ["--gateway-trusted-proxy=10.0.0.0/8", "--gateway-mark-trusted=10.1.0.0/16", "--gateway-mark-header=X-Env"],
    ):
        result = CliRunner().invoke(application, ["up", *words])
        assert (result.exit_code, result.output) == (0, "")
    made = [one.gateway_settings() for one in given]
    assert [(one.trusted_proxies, one.mark_trusted, one.mark_header) for one in made] == [
        ((), (), "X-Gray"),
        (("10.0.0.0/8",), ("10.1.0.0/16",), "X-Env"),
    ]


def test_room_is_given_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[PlatformSettings] = []
    monkeypatch.setattr("coldchain.main.command._run_platform", given.append)
    words = ["up", "--gateway-memory=rotation=128", "--gateway-memory", "nonces=1"]
    result = CliRunner().invoke(application, words)
    assert (result.exit_code, result.output) == (0, "")
    assert [one.gateway_settings().memory for one in given] == [
        GatewayMemory(rotation=128 * 1024 * 1024, nonces=1024 * 1024)
    ]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (["rotations=5"], "rotation, nonces, control"),
        (["64"], "NAME=MIB"),
        (["rotation"], "whole number of MiB"),
        (["rotation=0"], "from 1 to"),
        (["rotation=64m"], "whole number of MiB"),
        (["rotation=٣"], "whole number of MiB"),
        (["rotation=65537"], "65536"),
        (["nonces=1", "nonces=2"], "given twice"),
    ],
)
def test_room_that_cannot_be_is_refused_by_the_option(sizes: list[str], said: str) -> None:
    for command, option in (
        (["gateway", "--controller", "http://127.0.0.1:1"], "--memory"),
        (["up"], "--gateway-memory"),
    ):
        words = [*command, *(f"{option}={one}" for one in sizes)]
        result = CliRunner().invoke(application, words, env={"COLUMNS": "200", "TERM": "dumb"})
        assert result.exit_code == 2
        assert option in result.output
        assert said in result.output


class Controller:
    """Implements ports.rotation_feed.RotationFeed."""

    lease_seconds = 5.0

    def __init__(self, *says: Exception | RotationUpdate | None, share: float = 1.0) -> None:
        self.says = list(says)
        self.waits: list[float] = []
        self.share = share

    def shares(self, gateway: str) -> Mapping[str, float]:
        return {"all": self.share}

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        self.waits.append(wait_seconds)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said


UPDATE = RotationUpdate(base=0, revision=7)


async def test_the_next_controller_is_asked_in_the_same_exchange() -> None:
    away, there = Controller(Unavailable("a does not answer")), Controller(UPDATE)
    feed = SeveralFeeds([away, there])
    assert feed.lease_seconds == 0.0
    assert await feed.exchange(REPORT, 1.0) == UPDATE
    assert feed.lease_seconds == 5.0
    assert await feed.exchange(REPORT, 0.1) == UPDATE
    assert (away.waits, there.waits) == ([WAIT_SECONDS_MAX], [WAIT_SECONDS_MAX, 0.1])


async def test_that_none_answers_is_said_of_each() -> None:
    feed = SeveralFeeds([Controller(Unavailable("a is away")), Controller(Unavailable("b is away"))])
    for words in ("a is away; b is away", "a is away; b is away"):
        with pytest.raises(Unavailable, match=words):
            await feed.exchange(REPORT, 1.0)


async def test_shares_are_those_of_the_one_that_answered_last() -> None:
    feed = SeveralFeeds([Controller(Unavailable("a")), Controller(UPDATE, Unavailable("b"), share=0.5)])
    await feed.exchange(REPORT, 1.0)
    assert feed.shares("one") == {"all": 0.5}
    with pytest.raises(Unavailable):
        await feed.exchange(REPORT, 1.0)
    assert feed.shares("one") == {"all": 0.5}


async def test_what_one_refuses_is_told_and_the_next_one_asked_then() -> None:
    feed = SeveralFeeds([Controller(Rejected("401")), Controller(None)])
    with pytest.raises(Rejected, match="401"):
        await feed.exchange(REPORT, 1.0)
    assert await feed.exchange(REPORT, 1.0) is None
