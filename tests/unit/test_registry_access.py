"""Which registries there are, as `coldchain up --registry` is told."""

import os
from pathlib import Path

import pytest

from coldchain.main import registry_options
from coldchain.main.registry_access import ConsulAccess, registry_access
from coldchain.main.settings import PlatformSettings
from coldchain.model.errors import InvalidDocument


def test_the_embedded_one_or_a_consul_or_both(tmp_path: Path) -> None:
    assert registry_access(["127.0.0.1:8500"]).embedded == ("127.0.0.1", 8500)
    alone = registry_access(["consul://10.0.0.5:8500"], "given")
    assert (alone.embedded, alone.consuls) == (
        None,
        (ConsulAccess(text="consul://10.0.0.5:8500", scheme="http", address="10.0.0.5:8500", token="given"),),
    )
    (tmp_path / "token").write_text("own\n")
    both = registry_access([f"consul+https://c.example:8501?token={tmp_path}/token&agents=8501", "[::1]:8500"], "given")
    assert (both.embedded, both.embedded_first) == (("::1", 8500), False)
    [consul] = both.consuls
    assert (consul.scheme, consul.token, consul.agents, consul.text) == (
        "https",
        "own",
        8501,
        "consul+https://c.example:8501",
    )
    assert both.with_agents == consul
    left = registry_access(["consul://old:8500?leave=yes", "127.0.0.1:8500", "consul://new:8500?agents=8500"])
    assert (left.embedded_first, [one.leave for one in left.consuls]) == (True, [True, False])
    assert left.with_agents == left.consuls[1]


@pytest.mark.parametrize(
    ("given", "agent", "said", "address"),
    [
        (["127.0.0.1:8500"], "a1", "", "127.0.0.1:8500"),
        (["consul://10.0.0.5:8500"], "a1", "", "10.0.0.5:8500"),
        (["consul://10.0.0.5:8500"], "a1", "10.0.0.9:8500", "10.0.0.9:8500"),
        (["consul://10.0.0.5:8500?agents=8501"], "a1", "", "a1:8501"),
        (["consul://10.0.0.5:8500?agents=8501"], "", "", ":8501"),
        (["consul://10.0.0.5:8500?leave=yes", "[::1]:8500"], "a1", "", "[::1]:8500"),
        (["consul://10.0.0.5:8500", "127.0.0.1:8500"], "a1", "", "10.0.0.5:8500"),
        (["consul://10.0.0.5:8500", "consul://10.0.0.6:8500"], "a1", "10.0.0.9:8500", "10.0.0.5:8500"),
    ],
)
def test_where_an_app_on_an_agent_registers_itself(given: list[str], agent: str, said: str, address: str) -> None:
    assert registry_access(given).of_agent(agent, said) == address


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["somewhere"], "is not IP:PORT"),
        (["example.org:8500"], "is not IP:PORT"),
        (["consul://host"], "is not IP:PORT of the embedded registry, or consul://HOST:PORT"),
        (["consul://host:0"], "is not IP:PORT"),
        (["consul://host:8500/path"], "is not IP:PORT"),
        (["zk://host:8500"], "is not IP:PORT"),
        (["consul://host:8500?x"], "its options are not NAME=VALUE"),
        (["consul://host:8500?tokens=x&y=1"], "and not tokens, y"),
        (["consul://host:8500?authority=x"], "without TLS nobody looks at it"),
        (["consul+https://host:8500?key=x"], "a key is of a certificate"),
        (["consul://host:8500?agents=x"], "agents is the port"),
        (["consul://host:8500?token=/none"], "cannot be read"),
        (["consul://host:8500?leave=no"], "leave is yes"),
        (["consul://host:8500?leave=yes"], "name one that is not"),
        (["127.0.0.1:8500", "127.0.0.1:8501"], "at one address"),
        (["consul://host:8500", "consul+https://host:8500"], "names one Consul twice"),
        (["consul://host:8500?agents=8500", "consul://other:8500"], "which of them has an agent"),
    ],
)
def test_what_is_wrong_is_said(given: list[str], words: str) -> None:
    with pytest.raises(InvalidDocument, match=words):
        registry_access(given)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidDocument) as caught:
        registry_access(["a", "consul://b"])
    assert [one.path for one in caught.value.problems] == ["--registry", "--registry"]


def test_certificates_are_read_before_anything_starts(tmp_path: Path) -> None:
    settings = PlatformSettings(data=tmp_path, registry=(f"consul+https://host:8501?authority={tmp_path}/none",))
    with pytest.raises(InvalidDocument, match="its certificates cannot be read"):
        settings.check()


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument) as caught:
        registry_access(["consul://user:swordfish@host:8500"])
    assert "swordfish" not in str(caught.value)
    monkeypatch.setenv(registry_options.TOKEN, "swordfish")
    known = registry_options.registered(["consul://host:8500"])
    assert registry_options.TOKEN not in os.environ  # no child inherits it
    settings = PlatformSettings(data=tmp_path, **known)
    assert "swordfish" not in repr(settings) + repr(settings.registry_access())
    assert settings.registry_access().consuls[0].token == "swordfish"
