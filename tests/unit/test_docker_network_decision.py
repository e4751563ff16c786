"""Which networks Docker is to have: those of the store, no other of ours, and nobody else's is touched."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from coldchain.decisions.docker_network import Create, Remove, Trouble, steps
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.docker_network import DockerNetwork
from coldchain.model.pool import Pool

POOLS = {
    one.name: one
    for one in (
        Pool(name="online", cidr="10.200.0.0/16"),
        Pool(name="tests", cidr="10.201.0.0/16"),
        Pool(name="six", cidr="fd00::/64", block_length=122),
    )
}
ONLINE = ContainerNetwork(name="online_net", pool="online")
DUAL = ContainerNetwork(name="dual_net", pool="online", pool6="six")
THERE = DockerNetwork(id="1", name="online_net", driver="coldchain", network="online_net", subnet="10.200.0.0/16")
BRIDGE = DockerNetwork(id="2", name="bridge", driver="bridge", subnet="172.17.0.0/16")


def decided(networks: list[ContainerNetwork], present: list[DockerNetwork]) -> list[Create | Remove | Trouble]:
    return steps(networks, POOLS, present, "coldchain")


def test_what_is_missing_is_made_and_what_is_there_stays() -> None:
    assert decided([ONLINE, DUAL], [BRIDGE]) == [
        Create("dual_net", "10.200.0.0/16", "fd00::/64"),
        Create("online_net", "10.200.0.0/16", ""),
    ]
    assert decided([ONLINE], [THERE, BRIDGE]) == []


def test_what_nobody_wants_goes_once_it_is_empty() -> None:
    assert decided([], [THERE, BRIDGE]) == [Remove("1", "online_net")]
    (trouble,) = decided([], [replace(THERE, endpoints=frozenset("ab"))])
    assert trouble == Trouble("online_net", "the network was removed; it goes once nobody is in it (containers now: 2)")


def test_one_with_other_addresses_is_made_anew() -> None:
    moved = replace(ONLINE, pool="tests")
    assert decided([moved], [THERE]) == [Remove("1", "online_net"), Create("online_net", "10.201.0.0/16", "")]
    (trouble,) = decided([moved], [replace(THERE, endpoints=frozenset("a"))])
    assert isinstance(trouble, Trouble)
    assert "has other addresses" in trouble.reason


def test_a_network_of_another_driver_is_left_alone() -> None:
    (trouble,) = decided([ONLINE], [replace(THERE, driver="macvlan", network="")])
    assert trouble == Trouble("online_net", "Docker has a network of this name by driver macvlan, which is left alone")


def test_one_of_ours_under_another_name_stays_while_it_is_wanted() -> None:
    alias = replace(THERE, id="3", name="alias")
    assert decided([ONLINE], [THERE, alias]) == []
    assert decided([], [alias]) == [Remove("3", "alias")]


def test_without_its_pool_a_network_waits() -> None:
    (trouble,) = decided([ContainerNetwork(name="x", pool="gone")], [])
    assert trouble == Trouble("x", "there is no pool gone: `coldchain pool add` it")


NAMES = st.sampled_from("abcd")
WANTED = st.builds(ContainerNetwork, name=NAMES, pool=st.sampled_from(["online", "tests", "gone"]))
PRESENT = st.builds(
    DockerNetwork,
    id=st.uuids().map(str),
    name=NAMES,
    driver=st.sampled_from(["coldchain", "bridge"]),
    network=st.sampled_from(["a", "b", "c", "d", ""]),
    subnet=st.sampled_from(["10.200.0.0/16", "10.201.0.0/16"]),
    endpoints=st.frozensets(NAMES, max_size=1),
)


@given(st.lists(WANTED, unique_by=lambda one: one.name), st.lists(PRESENT, unique_by=lambda one: one.name))
def test_no_container_loses_its_network_and_carried_out_nothing_is_left_to_do(
    networks: list[ContainerNetwork], present: list[DockerNetwork]
) -> None:
    left = {one.id: one for one in present}
    for step in decided(networks, present):
        match step:
            case Remove(id=identity):
                gone = left.pop(identity)
                assert (gone.driver, gone.endpoints) == ("coldchain", frozenset())
            case Create(name=name, subnet=subnet):
                assert name not in {one.name for one in left.values()}, "Docker would refuse it"
                left[name] = DockerNetwork(id=name, name=name, driver="coldchain", network=name, subnet=subnet)
    again = decided(networks, list(left.values()))
    assert all(isinstance(step, Trouble) for step in again)
