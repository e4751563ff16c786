"""Runner process beyond the contract: what happens to shims, signals, output, leftovers, limits and disks."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coldchain.model.errors import Rejected
from coldchain.model.task import TaskSpec
from coldchain.runners.process.folder import folder_name, start_ticks
from coldchain.testing.process_bench import PATIENCE_SECONDS, Bench, end_of, ended, gone, lines, make_spec, output
from coldchain.testing.sandbox import kernel


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


@pytest.mark.parametrize(
    ("cmd", "state", "status", "words"),
    [
        ("exit 0", "finished", 0, "exit status 0"),
        ("exit 42", "failed", 42, "exit status 42"),
        ("kill -SEGV $$", "failed", 139, "SIGSEGV"),
        ("kill -KILL $$", "failed", 137, "SIGKILL"),
    ],
)
async def test_exit_statuses(bench: Bench, cmd: str, state: str, status: int, words: str) -> None:
    known = await ended(bench.runner(), make_spec(cmd))
    assert (known.state, known.exit_status) == (state, status)
    assert words in known.message


async def test_environment_folder_and_user(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec("id -un; pwd; echo $PORT0 $HOST $MARATHON_APP_ID $GREETING; touch mine; umask", user="nobody",
                     env={"GREETING": "hello", "MESOS_SANDBOX": "elsewhere"})  # fmt: skip
    await ended(runner, spec)
    work = bench.folder(spec).work
    assert (await output(runner, spec)).decode().split() == [
        "nobody", str(work), "31001", "agent-1", "/bench/app", "hello", "0022",
    ]  # fmt: skip
    assert (work / "mine").owner() == "nobody"
    assert os.stat(bench.folder(spec).path / "task.json").st_mode & 0o777 == 0o600


async def test_arguments_are_a_program_without_a_shell(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec(args=("echo", "$HOME;", "two  words"))
    await ended(runner, spec)
    assert await output(runner, spec) == b"$HOME; two  words\n"


@pytest.mark.parametrize(
    ("fields", "settings", "reason"),
    [
        ({"args": ("/no/such/program",)}, {}, "cannot run /no/such/program: No such file"),
        ({"cmd": "true", "user": "nosuchuser"}, {}, "no user nosuchuser"),
        ({"cmd": "true", "user": "root"}, {"root_allowed": False}, "--allow-root-tasks"),
        ({"args": ()}, {}, "Give `cmd` or `args`"),
    ],
)
async def test_what_cannot_start_is_rejected_and_leaves_nothing(
    bench: Bench, fields: dict[str, Any], settings: dict[str, Any], reason: str
) -> None:
    runner = bench.runner(**settings)
    with pytest.raises(Rejected) as refused:
        await runner.launch(make_spec(**fields))
    assert reason in str(refused.value)
    assert list((bench.root / "tasks").iterdir()) == []


async def test_a_shim_has_written_its_last_when_it_says_that_a_task_did_not_start(bench: Bench) -> None:
    """It used to write into the folder that was being removed; one start in some hundreds left it lying there."""
    runner = bench.runner()
    specs = [make_spec(args=("/no/such/program",)) for _ in range(60)]
    outcomes = await asyncio.gather(*(runner.launch(spec) for spec in specs), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Rejected}
    assert list((bench.root / "tasks").iterdir()) == []


async def test_who_names_no_user_is_nobody(bench: Bench) -> None:
    runner = bench.runner(root_allowed=False)
    spec = make_spec("id -un", user=None)
    await ended(runner, spec)
    assert await output(runner, spec) == b"nobody\n"


# Signals and what is left behind

DAEMON = "setsid sh -c 'trap \"\" TERM; echo $$; : >up; exec sleep 1000' & until [ -e up ]; do sleep 0.02; done; "


async def test_what_left_the_group_is_killed_when_the_task_ends(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec(DAEMON + "exit 5")
    known = await ended(runner, spec)
    assert (known.state, known.exit_status) == ("failed", 5)
    assert start_ticks(int((await output(runner, spec)).split()[0])) is None


async def test_the_children_of_a_shell_get_the_grace(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec("sh -c 'trap \"sleep 0.5; echo clean; exit 0\" TERM; echo up; while :; do sleep 0.1; done' & wait")
    await runner.launch(spec)
    await lines(runner, spec, 1)
    await runner.kill(spec.task_id, 20.0)
    assert (await output(runner, spec)).splitlines()[-1] == b"clean"
    (known,) = await runner.tasks()
    assert (known.state, known.exit_status) == ("killed", 143)


async def test_what_ignores_everything_is_killed_with_all_it_started(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec("trap '' TERM; " + DAEMON + "echo ready; while :; do sleep 1; done")
    await runner.launch(spec)
    daemon, _ = await lines(runner, spec, 2)
    await runner.kill(spec.task_id, 0.5)
    (known,) = await runner.tasks()
    assert (known.state, known.exit_status) == ("killed", 137)
    assert start_ticks(int(daemon)) is None


async def test_a_foreign_end_of_the_shim_is_no_stop_of_ours(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec("echo up; exec sleep 1000")
    updates = runner.updates()
    await runner.launch(spec)
    await lines(runner, spec, 1)
    os.kill(shim_of(bench, spec), signal.SIGTERM)
    known = await end_of(runner, spec, updates)
    assert (known.state, known.exit_status) == ("failed", 143)


# Shims and controllers


def shim_of(bench: Bench, spec: TaskSpec) -> int:
    begun = bench.folder(spec).read("shim")
    assert begun is not None
    return int(begun["pid"])


async def test_a_killed_shim_takes_its_task_with_it(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec(DAEMON + "echo $$; exec sleep 1000")
    updates = runner.updates()
    await runner.launch(spec)
    pids = [int(line) for line in await lines(runner, spec, 2)]
    os.kill(shim_of(bench, spec), signal.SIGKILL)
    known = await end_of(runner, spec, updates)
    assert (known.state, known.exit_status) == ("lost", None)
    assert "shim was killed" in known.message
    assert [start_ticks(pid) for pid in pids] == [None, None]


async def test_the_machine_was_restarted_meanwhile(bench: Bench) -> None:
    runner, spec = bench.runner(), make_spec("exec sleep 1000")
    await runner.launch(spec)
    pid = shim_of(bench, spec)
    await runner.close()
    folder = bench.folder(spec)
    begun = folder.read("shim")
    assert begun is not None
    folder.write("shim", begun | {"boot": "another"})
    (known,) = await bench.runner().tasks()
    assert (known.state, known.message) == ("lost", "the machine was restarted")
    await gone(pid)


async def test_a_number_that_is_somebody_elses_now_is_left_alone(bench: Bench) -> None:
    runner, spec = bench.runner(), make_spec("exec sleep 1000")
    await runner.launch(spec)
    shim = shim_of(bench, spec)
    await runner.close()
    stranger = subprocess.Popen(["sleep", "1000"])
    folder = bench.folder(spec)
    begun = folder.read("shim")
    assert begun is not None
    folder.write("shim", begun | {"pid": stranger.pid})
    other = bench.runner()
    (known,) = await other.tasks()
    assert known.state == "lost"
    await other.kill(spec.task_id, 0.0)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    await gone(shim)  # its folder and cgroup gave it away: nothing of the task is left


CONTROLLER = """
import asyncio, os, sys
import msgspec
from pathlib import Path
from coldchain.model.task import TaskSpec
from coldchain.runners.process import ProcessRunner, ProcessSettings
async def main():
    runner = ProcessRunner(Path(sys.argv[1]), ProcessSettings(cgroup_parent=sys.argv[2], root_allowed=True))
    await runner.tasks()
    print("ready", flush=True)
    await runner.launch(msgspec.json.decode(sys.argv[3], type=TaskSpec))
    print("launched", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.mark.parametrize("delay_seconds", [0.0, 0.003, 0.01, 0.02, 0.04, 0.08, None])
async def test_a_controller_killed_anywhere_in_a_launch(bench: Bench, delay_seconds: float | None) -> None:
    spec = make_spec("echo once >> ../count; exec sleep 1000")
    arguments = [str(bench.root / "tasks"), bench.settings["cgroup_parent"], msgspec.json.encode(spec).decode()]
    controller = subprocess.Popen([sys.executable, "-c", CONTROLLER, *arguments], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    assert controller.stdout.readline() == "ready\n"
    if delay_seconds is None:
        assert controller.stdout.readline() == "launched\n"
    else:
        await asyncio.sleep(delay_seconds)  # not to wait for something: to strike at another moment
    controller.kill()
    controller.communicate()
    runner = bench.runner()
    before = await runner.tasks()
    assert len(before) <= 1
    await runner.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while [status.state for status in await runner.tasks()] != ["running"]:
            await asyncio.sleep(0.02)
    count = bench.folder(spec).path / "count"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (count.exists() and count.stat().st_size):  # a shell opens it before it writes
            await asyncio.sleep(0.02)
    assert count.read_text() == "once\n"
    if delay_seconds is None:
        assert [status.state for status in before] == ["running"]
    await runner.kill(spec.task_id, 5.0)
    assert [status.state for status in await runner.tasks()] == ["killed"]


async def test_ctrl_c_for_the_controller_is_none_for_its_tasks(bench: Bench) -> None:
    runner, spec = bench.runner(), make_spec("echo $$; exec sleep 1000")
    await runner.launch(spec)
    (task,) = await lines(runner, spec, 1)
    shim = shim_of(bench, spec)
    assert len({os.getsid(0), os.getsid(shim), os.getsid(int(task))}) == 3
    assert len({os.getpgid(0), os.getpgid(shim), os.getpgid(int(task))}) == 3


# Output


async def test_output_is_rotated_and_followed_without_a_gap(bench: Bench) -> None:
    runner = bench.runner(log_file_mib=0.03, log_files=3)
    spec = make_spec("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end")
    await runner.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        followed = await output(runner, spec, follow=True)
    assert followed.endswith(b"line 19999\nend\n")
    kept = sorted(bench.folder(spec).path.glob("output.*"))
    assert len(kept) == 3
    assert all(path.stat().st_size < 0.03 * 1024**2 + 65536 for path in kept)
    assert (await output(runner, spec)) == b"".join(path.read_bytes() for path in kept)
    tail = b"".join([piece async for piece in runner.logs(spec.task_id, follow=False, tail=2)])
    assert tail == b"line 19999\nend\n"


async def test_much_output_of_a_task_that_nobody_watches(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec("head -c 200000000 /dev/zero; echo; echo done")
    known = await ended(runner, spec)
    assert known.state == "finished"
    assert (await output(runner, spec)).endswith(b"\0\ndone\n")
    assert sum(path.stat().st_size for path in bench.folder(spec).path.glob("output.*")) < 31 * 1024**2


async def test_a_full_disk_costs_the_output_and_nothing_else(bench: Bench) -> None:
    tasks = bench.root / "tasks"
    tasks.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0711", "tasks", tasks], check=True)
    try:
        runner = bench.runner()
        spec = make_spec("head -c 3000000 /dev/zero; exit 7")
        known = await ended(runner, spec)
        assert (known.state, known.exit_status) == ("failed", 7)
        await runner.forget(spec.task_id)
        assert await runner.tasks() == []
    finally:
        subprocess.run(["umount", tasks], check=True)


# Limits


def limited() -> bool:
    return any(kind in ("cgroup", "cgroup2") for _, kind in kernel.mounts())


@pytest.mark.skipif(not limited(), reason="this machine has no cgroups")
async def test_memory_is_limited(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec(f"{sys.executable} -c 'x = b\"x\" * 200_000_000'")
    known = await ended(runner, spec)
    assert (known.state, known.exit_status) == ("failed", 137)
    assert "out of memory" in known.message
    assert "64 MiB" in known.message
    task = bench.folder(spec).read("task")
    assert task is not None
    assert task["cgroups"]
    assert not any(Path(directory).exists() for directory in task["cgroups"])


async def test_without_cgroups_it_runs_all_the_same(bench: Bench) -> None:
    runner = bench.runner(cgroup_parent="refused\nby the kernel")
    assert (await ended(runner, make_spec("exit 3"))).exit_status == 3


# Commands beside the task


async def test_a_command_is_in_the_tasks_own_surroundings(bench: Bench) -> None:
    runner = bench.runner()
    spec = make_spec("echo up; exec sleep 1000", user="nobody", env={"GREETING": "hello"})
    await runner.launch(spec)
    await lines(runner, spec, 1)
    said = (await runner.execute(spec.task_id, "id -un; pwd; echo $GREETING; cat /proc/self/cgroup", 10.0)).output
    user, folder, greeting, *cgroups = said.splitlines()
    assert (user, folder, greeting) == ("nobody", str(bench.folder(spec).work), "hello")
    if limited():
        assert any(line.endswith(folder_name(spec.task_id)) for line in cgroups)


async def test_a_command_that_hangs_is_killed_with_all_it_started(bench: Bench) -> None:
    runner, spec = bench.runner(), make_spec("echo up; exec sleep 1000")
    await runner.launch(spec)
    known = await runner.execute(spec.task_id, DAEMON + "sleep 1000", 2.0)
    assert known.exit_status is None
    assert start_ticks(int(known.output.split()[0])) is None
    assert [status.state for status in await runner.tasks()] == ["running"]
    much = await runner.execute(spec.task_id, "head -c 5000000 /dev/zero; echo; echo last", 10.0)
    assert much.exit_status == 0
    assert len(much.output) <= 4096
    assert much.output.endswith("last\n")


async def test_a_shim_is_small_and_quick(bench: Bench) -> None:
    runner, spec = bench.runner(), make_spec("exec sleep 1000")
    began = time.monotonic()
    await runner.launch(spec)
    took = time.monotonic() - began
    memory = Path(f"/proc/{shim_of(bench, spec)}/smaps_rollup").read_text()
    own = next(int(line.split()[1]) for line in memory.splitlines() if line.startswith("Private_Dirty"))
    print(f"launch {took * 1000:.0f} ms, {own} KiB of its own")
    assert own < 8192
    assert took < 5.0
