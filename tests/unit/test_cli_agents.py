"""agents, drain and why against the real API, on two fake agents."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from coldchain.testing.command_server import Server, saved
from coldchain.testing.fake_engine import ONE_AGENT

NAMES = ("agent-1", "agent-2")


@pytest.fixture
def server() -> Iterator[Server]:
    agents = [
        msgspec.structs.replace(ONE_AGENT, agent=name, hostname=name, subnet=f"10.{number}.0.0/16")
        for number, name in enumerate(NAMES, 201)
    ]
    server = Server(agents=agents)
    yield server
    server.close()


def agents(server: Server) -> dict[str, Any]:
    return {one["agent"]: one for one in server.json("agents")["agents"]}


def test_a_drained_agent_gets_empty_and_is_used_again(server: Server, tmp_path: Any) -> None:
    server.done("deploy", saved(tmp_path, instances=4, cpus=0.5))
    before = {one.id for one in server.platform.controller.state.instances.values()}
    assert {name: one["instancesOf"] for name, one in agents(server).items()} == {key: {"/shop": 2} for key in NAMES}
    assert agents(server)["agent-1"]["resources"]["cpus"] == {"whole": 64.0, "used": 1.0}
    result = server.run("drain", "agent-1")
    assert result.exit_code == 0, result.output
    assert "agent-1: 2 instances to go: /shop serving" in result.stderr
    assert result.stderr.endswith("agent-1 is empty\n")
    found = agents(server)
    assert [found[name]["instances"] for name in NAMES] == [0, 4]
    assert (found["agent-1"]["draining"]["by"], found["agent-1"]["draining"]["waits"]) == ("local", [])
    live = {one.id for one in server.platform.controller.state.instances.values() if one.live}
    assert len(live & before) == 2, "the others stay as they are"
    assert "drained by local" in server.run("agents").stdout
    assert server.json("drain", "agent-1")["instances"] == 0, "asked for again nothing changes"
    assert "agent-1 is used again" in server.run("drain", "agent-1", "--end").stderr
    assert agents(server)["agent-1"]["draining"] is None
    server.done("scale", "/shop", "5")
    assert agents(server)["agent-1"]["instances"] == 1


def test_where_there_is_no_other_place_they_stay_and_why_says_so(server: Server, tmp_path: Any) -> None:
    server.done("deploy", saved(tmp_path, instances=2, constraints=[["hostname", "UNIQUE"]]))
    assert "It is as it is wanted to be." in server.run("why", "/shop").stdout
    result = server.run("drain", "agent-2", "--timeout", "0.5")
    assert result.exit_code == 4
    assert "agent-2 is not empty after 0.5 s; it goes on" in result.stderr
    assert [one["instances"] for one in agents(server).values()] == [1, 1], "nobody has left"
    found = server.json("why", "/shop")
    assert {one["agent"]: one["reasons"] for one in found["agents"]} == {
        "agent-1": ["UnfulfilledConstraint"],
        "agent-2": ["AgentMaintenance"],
    }
    said = server.run("why", "/shop").stdout
    assert "is drained" in said
    assert "a constraint of the app" in said
    assert "1 on" not in server.run("status").stderr


@pytest.mark.parametrize("arguments", [("drain", "none"), ("drain", "none", "--end"), ("drain", "agent-1", "--end")])
def test_what_is_not_there_or_not_drained_is_told(server: Server, arguments: tuple[str, ...]) -> None:
    result = server.run(*arguments)
    assert result.exit_code == 1
    assert "coldchain agents" in result.stderr
