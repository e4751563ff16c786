"""The parts of the sandbox that need no namespace."""

import os
import socket
from pathlib import Path

import pytest

from coldchain.model.errors import ColdchainError
from coldchain.testing.sandbox import docker_answers, kernel
from coldchain.testing.sandbox.forwarder import PortInUse, listen
from coldchain.testing.sandbox.identity import Identity, new_identity


def test_the_command_learns_its_sandbox_from_the_environment() -> None:
    identity = Identity("coldchain-1a2b", Path("/tmp/coldchain-1a2b"), "/outer/coldchain-1a2b")
    assert identity.environment() == {
        "COLDCHAIN_SANDBOX": "coldchain-1a2b",
        "COLDCHAIN_CGROUP_PARENT": "/outer/coldchain-1a2b",
        "TMPDIR": "/tmp/coldchain-1a2b",
    }


def test_no_two_sandboxes_have_the_same_name() -> None:
    first, second = new_identity(), new_identity()
    assert first.name != second.name
    assert first.temporary_directory != second.temporary_directory
    assert first.cgroup_parent != second.cgroup_parent
    assert first.cgroup_parent.endswith(f"/{first.name}")


def test_a_port_in_use_is_refused_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"Port {port} of 127.0.0.1") as caught:
            listen(port)
    assert isinstance(caught.value, ColdchainError)
    assert caught.value.todo


def test_mounts_are_read_with_their_types() -> None:
    assert ("/proc", "proc") in kernel.mounts()


@pytest.mark.parametrize("kind", ["absent", "a file", "a closed socket"])
def test_what_is_no_docker_does_not_answer(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    if kind == "a file":
        path.touch()
    if kind == "a closed socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.fspath(path))
    assert not docker_answers(path)
