"""How Mesos is reached: every mistake of the options at once, each by its option."""

from pathlib import Path

import pytest

from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.main.mesos_access import MesosAccess, masters_of
from coldchain.model.errors import InvalidDocument


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("zk://a:2181/mesos", ZooKeeperAddress(hosts="a:2181", path="/mesos")),
        ("zk://a:2181,b:2182/x/mesos/", ZooKeeperAddress(hosts="a:2181,b:2182", path="/x/mesos")),
        ("zk://me:p%40ss@a:1/m", ZooKeeperAddress(hosts="a:1", path="/m", credential="me:p@ss")),
    ],
)
def test_where_masters_are_elected(text: str, address: ZooKeeperAddress) -> None:
    assert masters_of(text) == address


def test_masters_by_their_addresses() -> None:
    assert masters_of("a:5050,[::1]:5051") == ("a:5050", "[::1]:5051")


@pytest.mark.parametrize("text", ["zk://a:1", "zk:///mesos", "zk://a:1,/m", "zk://me@a:1/m", "a", "a:0", "a:1,", "a:x"])
def test_what_names_no_master(text: str) -> None:
    with pytest.raises(ValueError):
        masters_of(text)


def test_every_mistake_is_said_by_its_option(tmp_path: Path) -> None:
    access = MesosAccess(
        master="a", credentials="me", executor=" ", authority=tmp_path / "none.pem", containerizer="podman"
    )
    with pytest.raises(InvalidDocument) as caught:
        access.check()
    assert {one.path for one in caught.value.problems} == {
        "--mesos-master",
        "--mesos-credentials-file",
        "--mesos-executor",
        "--mesos-authority",
        "--mesos-containerizer",
    }
    MesosAccess(master="a:5050", credentials="me:secret", containerizer="docker").check()
