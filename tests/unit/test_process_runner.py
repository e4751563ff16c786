"""The pure parts of the process runner: what is run, what its end means, where its output goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from coldchain.model.app import App, Fetch, PortDefinition
from coldchain.model.errors import Rejected
from coldchain.model.task import TaskSpec
from coldchain.runners.process.cgroups import CgroupPlan
from coldchain.runners.process.fetch import file_name
from coldchain.runners.process.folder import TaskFolder, folder_name
from coldchain.runners.process.output import Cursor, tail
from coldchain.runners.process.settings import ProcessSettings
from coldchain.runners.process.specification import User, command_of, task_document
from coldchain.runners.process.status import of_end, of_live, unseen_end

USER = User("shop", 1000, 1000, (1000, 27))


def make_spec(**fields: Any) -> TaskSpec:
    app = App(**({"id": "/shop", "cmd": "serve", "port_definitions": (PortDefinition(name="http"),)} | fields))
    return TaskSpec(
        task_id="shop.instance-1._app.1",
        instance_id="shop.instance-1",
        app_id="/shop",
        version_id="v",
        target="cluster",
        agent="box",
        app=app,
        image=None,
        address=None,
        host_ports=(31000,),
    )


def document(**fields: Any) -> dict[str, Any]:
    return task_document(make_spec(**fields), USER, Path("/tasks/1/work"), CgroupPlan(), ProcessSettings())


def test_the_document_of_a_task() -> None:
    task = document(env={"PATH": "/mine", "MESOS_SANDBOX": "/other"}, mem=64)
    assert json.loads(json.dumps(task)) == task
    assert task["argv"] == ["/bin/sh", "-c", "serve"]
    assert (task["user"], task["uid"], task["gid"], task["groups"]) == ("shop", 1000, 1000, [1000, 27])
    environment = task["environment"]
    assert (environment["PORT0"], environment["PORT_HTTP"], environment["HOST"]) == ("31000", "31000", "box")
    assert (environment["PATH"], environment["HOME"], environment["USER"]) == ("/mine", "/tasks/1/work", "shop")
    assert environment["MESOS_SANDBOX"] == "/tasks/1/work"


def test_arguments_and_nothing_to_run() -> None:
    assert command_of(make_spec(cmd=None, args=("serve", "--fast"))) == ["serve", "--fast"]
    with pytest.raises(Rejected, match="what to run"):
        command_of(make_spec(cmd=None))


@pytest.mark.parametrize(
    ("end", "state", "message"),
    [
        ({"exit_status": 0}, "finished", "exit status 0"),
        ({"exit_status": 3}, "failed", "exit status 3"),
        ({"exit_status": 143, "stopped": True}, "killed", "exit status 143 (SIGTERM)"),
        ({"exit_status": 0, "stopped": True}, "killed", "exit status 0"),
        (
            {"exit_status": 137, "out_of_memory": True},
            "failed",
            "out of memory: it needed more than its 128 MiB (`mem`); exit status 137 (SIGKILL)",
        ),
        ({"exit_status": 127, "error": "cannot run x"}, "failed", "cannot run x; exit status 127"),
        ({"error": "gone"}, "lost", "gone"),
    ],
)
def test_ends(end: dict[str, Any], state: str, message: str) -> None:
    status = of_end(document(), unseen_end(7.0, "") | end, ["last"])
    assert (status.state, status.message, status.at) == (state, message, 7.0)
    assert (status.address, status.ports, status.host_ports) == ("127.0.0.1", (31000,), (31000,))
    assert status.log_tail == (("last",) if state in ("failed", "lost") else ())


def test_a_live_task() -> None:
    status = of_live(document(), "running", 7.0)
    assert (status.task_id, status.state, status.exit_status) == ("shop.instance-1._app.1", "running", None)


@pytest.mark.parametrize("task_id", ["shop.instance-1._app.1", "../../etc", ".new-x", "a/b", ".."])
def test_a_folder_is_one_name_and_is_not_hidden(task_id: str) -> None:
    name = folder_name(task_id)
    assert "/" not in name
    assert not name.startswith(".")
    assert folder_name("shop.instance-1._app.1") == "shop.instance-1._app.1"


def test_documents_of_a_folder(tmp_path: Path) -> None:
    folder = TaskFolder(tmp_path)
    assert folder.read("stop") is None
    folder.write("stop", {"deadline": 1.0})
    assert folder.read("stop") == {"deadline": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["stop.json"]
    assert TaskFolder(tmp_path / "missing").read("task") is None


def test_output_goes_on_in_the_next_file(tmp_path: Path) -> None:
    (tmp_path / "output.000001").write_bytes(b"one\n")
    cursor = Cursor(tmp_path)
    assert cursor.read() == b"one\n"
    assert cursor.read() == b""
    (tmp_path / "output.000001").write_bytes(b"one\ntwo\n")
    (tmp_path / "output.000002").write_bytes(b"three\n")
    assert cursor.read() + cursor.read() == b"two\nthree\n"
    (tmp_path / "output.000002").unlink()
    (tmp_path / "output.000005").write_bytes(b"six\n")
    assert cursor.read() == b"six\n"


def test_the_last_lines_are_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "output.000009").write_bytes(b"one\ntwo\n")
    (tmp_path / "output.000010").write_bytes(b"three\nfo")
    assert tail(Cursor(tmp_path), 3) == b"two\nthree\nfo"
    assert tail(Cursor(tmp_path / "missing"), 3) == b""


def test_output_since_a_moment(tmp_path: Path) -> None:
    for number, times, text in ((1, "100.000 0\n101.000 4\n", b"one\ntwo\n"), (2, "102.000 0\n", b"three\n")):
        (tmp_path / f"output.00000{number}").write_bytes(text)
        (tmp_path / f"times.00000{number}").write_text(times)

    def since(at: float) -> bytes:
        cursor = Cursor(tmp_path, at)
        return cursor.read() + cursor.read()

    assert [since(at) for at in (99.0, 100.5, 101.5, 103.0)] == [b"one\ntwo\nthree\n", b"two\nthree\n", b"three\n", b""]


@pytest.mark.parametrize(
    ("fetch", "name"),
    [
        (Fetch(uri="http://h/a/my%20app.tar.gz?x=1"), "my app.tar.gz"),
        (Fetch(uri="http://h/a", dest_file="conf/a.json"), "conf/a.json"),
        (Fetch(uri="http://h/"), None),
        (Fetch(uri="http://h/%2e%2e"), None),
        (Fetch(uri="http://h/a%2F..%2F..%2Fx"), "x"),
        (Fetch(uri="http://h/a", dest_file="/etc/passwd"), None),
        (Fetch(uri="http://h/a", dest_file="a/../../b"), None),
    ],
)
def test_names_of_fetched_files(fetch: Fetch, name: str | None) -> None:
    if name is None:
        with pytest.raises(Rejected):
            file_name(fetch)
    else:
        assert file_name(fetch) == name
