"""What `pip install` of the wheel gives: all of it, and a doctor that tells what the machine lacks."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

PORTS = ("--api", "--gateway", "--gateway-status")


def run(installed: Path, *arguments: str, language: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{installed}:{os.environ['PATH']}", "LC_ALL": language}
    command = [str(installed / "coldchain"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, cwd="/")


def test_the_doctor_finds_all_that_a_platform_needs(
    installed: Path, docker_daemon: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    options = [f"{name}=127.0.0.1:{free_port()}" for name in PORTS]
    options += [f"--data={tmp_path}", f"--docker-socket={docker_daemon}"]
    done = run(installed, "doctor", *options, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert found["ready"]
    assert {one["name"] for one in found["findings"]} >= {"docker", "nginx", "nginx's Lua", "cgroups", "clock"}
    assert run(installed, "doctor", *options).stderr == "this machine can run a platform\n"


def test_the_doctor_names_what_is_missing(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "doctor", f"--docker-socket={tmp_path}/none.sock", f"--data={tmp_path}")
    assert done.returncode == 1
    assert f"docker: there is no socket {tmp_path}/none.sock" in done.stdout
    assert "apt-get install docker.io" in done.stdout
    chinese = run(installed, "doctor", f"--docker-socket={tmp_path}/none.sock", language="zh_CN.UTF-8")
    assert "请安装：`apt-get install docker.io`" in chinese.stdout


def test_the_wheel_is_whole(installed: Path, tmp_path: Path) -> None:
    assert run(installed, "init", str(tmp_path)).returncode == 0
    assert run(installed, "validate", str(tmp_path / "coldchain.yaml")).returncode == 0
    program = "import coldchain, pathlib; print(*pathlib.Path(coldchain.__file__).parent.rglob('*.*'), sep='\\n')"
    listed = subprocess.run([installed / "python", "-c", program], capture_output=True, text=True, check=True, cwd="/")
    names = {Path(line).name for line in listed.stdout.splitlines()}
    assert str(installed.parent) in listed.stdout.splitlines()[0]
    assert {"proxy.lua", "app.zh.yaml", "py.typed"} <= names
