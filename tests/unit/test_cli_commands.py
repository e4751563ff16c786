"""Every command against the real API: what it does, what it writes, how it ends."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coldchain.cli.application import application
from coldchain.model.registration import ServiceEndpoint
from coldchain.testing.command_server import SHOP, Server, saved


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(SHOP))
    return path


def test_deploy_creates_changes_and_follows(server: Server, shop: Path, tmp_path: Path) -> None:
    result = server.run("deploy", str(shop))
    assert result.exit_code == 0, result.output
    assert result.stdout == "/shop: start succeeded, 2 serving\n"
    assert re.search(r"^/shop: start running: desired 2, placed \d, healthy \d, serving \d", result.stderr)
    assert "warning" not in result.stderr
    changed = server.run("deploy", saved(tmp_path, healthChecks=[]))
    assert changed.stdout == "/shop: replace succeeded, 2 serving\n"
    assert "warning: /shop has no health check" in changed.stderr


def test_deploy_returns_at_once_when_detached(server: Server, shop: Path) -> None:
    [begun] = server.json("deploy", str(shop), "--detach")
    assert begun["id"] == "/shop"
    assert server.json("status", "/shop")["id"] == "/shop"


def test_deploy_says_what_failed_and_that_it_was_taken_back(server: Server, shop: Path, tmp_path: Path) -> None:
    server.done("deploy", str(shop))
    server.late_once_failed("/shop")
    result = server.run("deploy", saved(tmp_path, env={"HEALTH": "never"}))
    assert result.exit_code == 1
    assert "/shop: replace failed: deadline of 30 s passed" in result.stderr
    assert "last failed task: shop.instance-" in result.stderr
    assert "it was taken back" in result.stderr
    assert "status 503" in result.stderr
    status = server.json("status", "shop")
    assert (status["condition"], status["progress"]["serving"]) == ("running", 2)


def test_deploy_shows_what_a_crashing_app_wrote(server: Server, tmp_path: Path) -> None:
    server.late_once_failed("/shop")
    result = server.run("deploy", saved(tmp_path, env={"EXIT": "7", "HEALTH": "never"}))
    assert result.exit_code == 1
    assert "exit status 7" in result.stderr
    assert "  | listening on 8080" in result.stderr


def test_deploy_of_what_cannot_be_changes_nothing(server: Server, shop: Path, tmp_path: Path) -> None:
    result = server.run("deploy", str(shop), saved(tmp_path, id="/x", instances="four", routes=[]))
    assert result.exit_code == 2
    assert "changed.json:1: /instances: must be a whole number" in result.stderr
    assert server.json("status")["apps"] == []


def test_deploy_tells_what_the_platform_refuses(server: Server, shop: Path, tmp_path: Path) -> None:
    server.done("deploy", str(shop))
    result = server.run("deploy", saved(tmp_path, id="/other"))
    assert result.exit_code == 2
    assert "/routes/0/domains/0: shop.test/ belongs to /shop" in result.stderr


def test_a_running_deployment_is_in_the_way_unless_forced(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path, env={"HEALTH": "never"}), "--detach")
    result = server.run("deploy", saved(tmp_path))
    assert result.exit_code == 1
    assert "still running" in result.stderr
    assert "--force" in result.stderr
    assert server.run("deploy", saved(tmp_path), "--force").exit_code == 0


def test_deploy_times_out_and_says_how_to_go_on(server: Server, tmp_path: Path) -> None:
    result = server.run("deploy", saved(tmp_path, env={"HEALTH": "never"}), "--timeout", "0.3")
    assert result.exit_code == 4
    [deployment] = re.findall(r"coldchain cancel (\w+)", result.stderr)
    cancelled = server.json("cancel", deployment[:6], "--force")
    assert cancelled == {"cancelled": deployment}


def test_following_survives_a_restart_of_the_controller(server: Server, tmp_path: Path) -> None:
    started = threading.Event()

    async def restart() -> None:
        while not server.platform.controller.state.running:
            await asyncio.sleep(0.01)
        await server.platform.stop()
        started.set()
        await asyncio.sleep(0.6)
        await server.platform.start()

    restarting = asyncio.run_coroutine_threadsafe(restart(), server.loop)
    slow = [{"path": "/", "delaySeconds": 0.5, "gracePeriodSeconds": 1, "intervalSeconds": 0.1, "timeoutSeconds": 0.05}]
    result = server.run("deploy", saved(tmp_path, healthChecks=slow))
    restarting.result(20)
    assert started.is_set()
    assert result.exit_code == 0, result.output


def test_interrupted_the_deployment_goes_on(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coldchain", "deploy", saved(tmp_path, env={"HEALTH": "never"})]
    environment = os.environ | {"COLDCHAIN_URL": server.platform.url}
    # A shell starts what is to run in the background deaf to it, and so are the children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "running" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "goes on without you" in said
    assert "coldchain cancel" in said
    assert len(server.platform.controller.state.running) == 1


def test_scale_restart_versions_and_rollback(server: Server, shop: Path, tmp_path: Path) -> None:
    server.done("deploy", str(shop))
    assert server.done("scale", "shop", "3") == "/shop: scale succeeded, 3 serving\n"
    assert server.done("restart", "/shop") == "/shop: restart succeeded, 3 serving\n"
    listed = server.json("versions", "shop")
    assert [one["instances"] for one in listed["versions"]] == [3, 3, 2]
    assert listed["current"] == listed["versions"][0]["version"]
    first = listed["versions"][-1]["version"]
    assert first in server.done("versions", "shop")
    assert server.done("rollback", "shop", first) == "/shop: rollback succeeded, 2 serving\n"
    assert server.json("rollback", "shop")["deployments"][0]["state"] == "succeeded"
    missing = server.run("rollback", "shop", "2020-01-01T00:00:00.000Z")
    assert missing.exit_code == 1
    assert "has no version" in missing.stderr


def test_history_tells_what_was_done_how_it_ended_and_why(server: Server, shop: Path, tmp_path: Path) -> None:
    server.done("deploy", str(shop))
    assert server.run("deploy", saved(tmp_path, env={"HEALTH": "never"}, deadlineSeconds=1)).exit_code == 1
    found = server.json("history", "shop")["deployments"]
    assert [(one["kind"], one["state"]) for one in found] == [
        ("rollback", "succeeded"),
        ("replace", "failed"),
        ("start", "succeeded"),
    ]
    assert found[1]["seconds"] >= 1
    _, back, failed, start = server.done("history", "shop").splitlines()
    assert re.search(r"replace +failed +\d+ s +2 +shop:v1 +replace asked for by local; deadline of 1 s passed", failed)
    assert "rollback" in back
    assert start.endswith("start asked for by local")
    server.done("delete", "shop", "--yes")
    assert server.json("history", "shop")["deployments"][0]["kind"] == "stop"
    assert server.run("history", "none").exit_code == 1


def test_cancel_takes_back_by_app_or_by_id(server: Server, shop: Path, tmp_path: Path) -> None:
    server.done("deploy", str(shop))
    server.done("deploy", saved(tmp_path, env={"HEALTH": "never"}), "--detach")
    assert server.done("cancel", "shop") == "/shop: rollback succeeded, 2 serving\n"
    nothing = server.run("cancel", "shop")
    assert nothing.exit_code == 1
    assert "None is running" in nothing.stderr


def test_pause_and_resume(server: Server, shop: Path, tmp_path: Path) -> None:
    server.done("deploy", str(shop))
    server.done("deploy", saved(tmp_path, env={"HEALTH": "never"}), "--detach")
    assert server.run("pause", "shop").stderr.endswith(" paused\n")
    assert "paused by operator" in server.done("status", "shop")
    assert "coldchain resume" in server.json("status", "shop")["explain"]
    assert server.json("resume", "shop")["pausedBy"] is None
    assert "paused by" not in server.done("status", "shop")
    assert server.run("release-brake").exit_code == 1
    assert server.json("status")["brake"] == {"holds": False, "reason": "", "since": None, "released": False}


def test_delete_asks_first(server: Server, shop: Path) -> None:
    server.done("deploy", str(shop))
    refused = server.run("delete", "shop")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert server.done("delete", "shop", "--yes") == "/shop: stop succeeded, 0 serving\n"
    assert server.run("status", "shop").exit_code == 1


def test_status_of_all_and_of_one(server: Server, shop: Path, tmp_path: Path) -> None:
    assert "No app yet" in server.done("status")
    server.done("deploy", str(shop))
    [head, line] = server.done("status").splitlines()
    assert head.split()[:3] == ["APP", "STATE", "DESIRED"]
    assert line.split()[:6] == ["/shop", "running", "2", "2", "2", "2"]
    one = server.done("status", "/shop")
    assert "routes shop.test/" in one
    assert one.count("serving") >= 3
    server.done("deploy", saved(tmp_path, env={"HEALTH": "never"}), "--detach")
    assert "not there yet: 0 of 2 instances" in server.done("status", "/shop")
    assert "deploying" in server.done("status")


def test_services_of_apps_and_of_others(server: Server, shop: Path) -> None:
    assert server.run("deploy", str(shop)).exit_code == 0
    legacy = ServiceEndpoint(id="old-1", address="10.9.9.9", port=81, status="critical")
    server.platform.registry.set_others("legacy", legacy)
    result = server.run("services")
    assert result.exit_code == 0
    unused = r"^legacy +10\.9\.9\.9:81 +critical +- +- +- +others +old-1 +no app on the platform has or uses this"
    assert re.search(unused, result.output, re.MULTILINE)
    own = r"^shop +10\.\S+:80 +passing +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +in +/shop +this controller +shop-\w+ +-$"
    assert len(re.findall(own, result.output, re.MULTILINE)) == 2
    one = json.loads(server.run("services", "legacy", "--json").stdout)
    assert [each["name"] for each in one["services"]] == ["legacy"]
    [endpoint] = one["services"][0]["endpoints"]
    assert (endpoint["since"], endpoint["inRotation"], endpoint["registeredBy"]) == (None, None, "others")
    missing = server.run("services", "none")
    assert missing.exit_code == 1
    assert "no service none" in missing.stderr
    server.platform.registry.silent = True
    silent = server.run("services")
    assert silent.exit_code == 1
    assert "the registry does not answer" in silent.stderr


def test_status_tells_why_instances_are_not_placed(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path, instances=2, mem=10**6), "--detach")
    waiting: list[dict[str, object]] = []
    while len(waiting) < 2:
        waiting = server.json("status", "shop")["refused"]
    assert waiting[0]["reasons"] == {"InsufficientMemory": 1}
    shown = server.done("status", "shop")
    assert "2 of its instances fit none of 1 agents:\n  1 excluded by: too little memory: 1000000 MiB wanted" in shown
    assert server.json("status", "shop")["condition"] == "waiting"


def test_status_tells_who_waits_for_a_gateway(server: Server, shop: Path) -> None:
    server.done("deploy", str(shop))
    server.platform.gateway.refuses = True
    server.done("scale", "shop", "3", "--detach")
    controller = server.platform.controller
    while not any(one.phase == "entering" for one in controller.state.instances.values()):
        time.sleep(0.01)
    entering = [line for line in server.done("status", "shop").splitlines() if " entering " in line]
    assert "gateway-0" in entering[0]


def test_logs_story_and_events(server: Server, shop: Path) -> None:
    server.done("deploy", str(shop))
    name = sorted(server.platform.controller.state.instances)[0]
    lines = server.done("logs", "shop").splitlines()
    assert f"{name[:8]} | listening on 8080" in lines
    assert len(lines) == 4
    last = server.done("logs", "shop", "--tail", "1", "--instance", name[:6])
    assert last == f"{name[:8]} | listening on 8080\n"
    written = [json.loads(line) for line in server.done("logs", "shop", "--json", "-n", "1").splitlines()]
    assert {one["line"] for one in written} == {"listening on 8080"}
    assert "every live gateway has it" in server.done("story", name[:6])
    assert server.json("story", name)["id"] == name
    command = [sys.executable, "-m", "coldchain", "events", "--json", "--type", "deployment_info"]
    environment = os.environ | {"COLDCHAIN_URL": server.platform.url, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.append(process.stdout.readline() if process.stdout else ""))
        reader.start()
        while reader.is_alive():
            server.done("scale", "shop", "1")
            server.done("scale", "shop", "2")
            reader.join(0.05)
        process.terminate()
    assert json.loads(seen[0])["eventType"] == "deployment_info"


def test_logs_of_a_time_with_a_word_and_of_those_that_ended(server: Server, shop: Path, tmp_path: Path) -> None:
    server.done("deploy", str(shop))
    found = server.done("logs", "shop", "--grep", "^listen").splitlines()
    assert [line.partition(" | ")[2] for line in found] == ["listening on 8080"] * 2
    assert len(server.done("logs", "shop", "--since", "10m").splitlines()) == 4
    assert server.done("logs", "shop", "--since", "2100-01-01") == ""
    assert server.done("logs", "shop", "--previous") == ""
    old = {name[:8] for name in server.platform.controller.state.instances}
    server.done("restart", "shop")
    ended = server.done("logs", "shop", "--previous", "-n", "1").splitlines()
    assert {line.partition(" | ")[0] for line in ended} == old
    for wrong in (("--since", "soon"), ("--grep", "("), ("-f", "--previous")):
        result = server.run("logs", "shop", *wrong)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("http://127.0.0.1:1", 3, "coldchain up"),
        ("127.0.0.1:1", 3, "no platform answers at http://127.0.0.1:1: Connection refused"),
        ("http://a:b:c", 2, "is no address"),
    ],
)
def test_no_platform_is_said_with_how_to_start_one(url: str, status: int, words: str) -> None:
    result = CliRunner().invoke(application, ["status", "--url", url])
    assert result.exit_code == status
    assert words in result.stderr
    assert result.stdout == ""


def test_what_is_not_coldchain_is_told_apart(server: Server) -> None:
    result = CliRunner().invoke(application, ["versions", "x", "--url", f"{server.platform.url}/ping?"])
    assert result.exit_code == 3
    assert "is not Coldchain" in result.stderr
