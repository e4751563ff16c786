"""Where waiting instances go: nothing given twice, nothing over its size, and the reason for every refusal."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.placement import Waiting, place
from coldchain.model.app import App, Container, Docker, Network, PortMapping
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer


def app(cpus: float = 1.0, mem: float = 100.0, host_port: int | None = 0, **fields: object) -> App:
    mapping = PortMapping(container_port=8080, host_port=host_port)
    container = Container(docker=Docker(image="shop"), port_mappings=(mapping,))
    return App(id="/shop", cpus=cpus, mem=mem, container=container, **fields)  # type: ignore[arg-type]


def offer(name: str = "agent-1", cpus: float = 4.0, mem: float = 1000.0, **fields: object) -> Offer:
    given: dict[str, object] = {"target": "cluster", "hostname": name, "disk": 10.0, "subnet": "10.0.0.0/24"}
    given |= {"agent": name, "cpus": cpus, "mem": mem, "port_ranges": ((31000, 31009),)}
    return Offer(**(given | fields))  # type: ignore[arg-type]


def instance(number: int, **fields: object) -> Instance:
    given: dict[str, object] = {"id": f"{number:03}", "app_id": "/shop", "version_id": "1", "target": "cluster"}
    given |= {"task_id": f"t{number}", "phase": "scheduled", "since": 0.0, "created_at": float(number)}
    return Instance(**(given | fields))  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.floats(0.1, 3.0), st.floats(1.0, 600.0)), max_size=15),
    st.lists(st.tuples(st.floats(0.5, 4.0), st.floats(10.0, 1000.0)), max_size=3),
)
def test_nothing_is_given_twice_and_no_agent_is_overfull(
    asked: list[tuple[float, float]], offered: list[tuple[float, float]]
) -> None:
    offers = [offer(f"agent-{n}", cpus, mem, subnet=f"10.0.{n}.0/29") for n, (cpus, mem) in enumerate(offered)]
    waiting = [Waiting(instance=instance(n), app=app(cpus, mem)) for n, (cpus, mem) in enumerate(asked)]
    placed, refused = place(waiting, offers, [])
    assert {one.instance_id for one in placed} | {one.instance_id for one in refused} == {
        one.instance.id for one in waiting
    }
    assert len(placed) + len(refused) == len(waiting)
    sizes = {one.instance.id: one.app for one in waiting}
    for given_out in offers:
        there = [one for one in placed if one.agent == given_out.agent]
        assert sum(sizes[one.instance_id].cpus for one in there) <= given_out.cpus + 1e-6
        assert sum(sizes[one.instance_id].mem for one in there) <= given_out.mem + 1e-6
        assert len({one.address for one in there}) == len(there)
        assert len({one.host_ports for one in there}) == len(there)


def test_a_stopped_instance_holds_address_and_ports_but_no_resources() -> None:
    held = instance(1, agent="agent-1", address="10.0.0.2", host_ports=(31000,), phase="serving")
    full = offer(cpus=1.0, subnet="10.0.0.0/29")
    _, refused = place([Waiting(instance=instance(2), app=app())], [full], [(held, app())])
    assert refused[0].reasons == {"InsufficientCpus": 1}
    stopped = msgspec.structs.replace(held, phase="stopped")
    placed, _ = place([Waiting(instance=instance(2), app=app())], [full], [(stopped, app())])
    assert (placed[0].address, placed[0].host_ports) == ("10.0.0.3", (31001,))


def test_what_a_network_by_name_gave_is_not_counted_among_our_own_addresses() -> None:
    """Else the next address would be the lowest again, which was in use a moment ago."""
    ours = instance(1, agent="agent-1", address="10.0.0.7", phase="serving")
    theirs = instance(2, agent="agent-1", address="10.200.0.1", phase="serving")
    named = app(networks=(Network(name="online_net"),))
    placed, _ = place([Waiting(instance=instance(3), app=app())], [offer()], [(ours, app()), (theirs, named)])
    assert placed[0].address == "10.0.0.8"
    placed, _ = place([Waiting(instance=instance(3), app=named)], [offer(subnet="10.0.0.0/31")], [])
    assert placed[0].address is None


def test_every_refusal_says_why() -> None:
    fixed = instance(1, agent="agent-1", host_ports=(8080,), phase="stopped")
    cases = [
        (app(cpus=9.0), offer(), "too few cpus on 1 (9 cpus wanted, at most 4 of 4 free)"),
        (app(mem=9999.0), offer(), "too little memory on 1 (9999 MiB wanted, at most 1000 of 1000 free)"),
        (app(disk=99.0), offer(), "too little disk on 1 (99 MiB wanted, at most 10 of 10 free)"),
        (app(host_port=8080), offer(), "the host ports are taken on 1"),
        (app(gpus=2), offer(gpus=1), "too few gpus on 1 (2 gpus wanted, at most 1 of 1 free)"),
        (app(), offer(target="vm"), "another target on 1"),
        (app(), offer(role="slave_public"), "offered for another role on 1"),
        (app(), offer(subnet="10.0.0.0/31"), "no free address on 1"),
    ]
    for wanted, given_out, reason in cases:
        _, refused = place([Waiting(instance=instance(2), app=wanted)], [given_out], [(fixed, app())])
        assert [str(one) for one in refused] == [f"it fits none of 1 agents: {reason}"]
    _, refused = place([Waiting(instance=instance(2), app=app())], [], [])
    assert str(refused[0]) == "it fits no agent: none offers anything"


def test_all_agents_are_counted_by_every_reason_that_excludes_them() -> None:
    offers = [offer("a", cpus=1.0, mem=50.0), offer("b", mem=200.0), offer("c", target="vm"), offer("d", mem=150.0)]
    _, [refused] = place([Waiting(instance=instance(2), app=app(cpus=2.0, mem=300.0))], offers, [])
    assert refused.agents == 4
    assert refused.reasons == {"InsufficientMemory": 3, "InsufficientCpus": 1, "UnfulfilledTarget": 1}
    assert refused.sifted == {"InsufficientCpus": 1, "InsufficientMemory": 2, "UnfulfilledTarget": 1}
    assert [(one.agent, one.mem, one.reasons) for one in refused.unused] == [
        ("c", 1000.0, ("UnfulfilledTarget",)),
        ("b", 200.0, ("InsufficientMemory",)),
        ("d", 150.0, ("InsufficientMemory",)),
        ("a", 50.0, ("InsufficientCpus", "InsufficientMemory")),
    ]
    most = refused.shortages["InsufficientMemory"]
    assert (most.wanted, most.free, most.whole) == (300.0, 200.0, 200.0)
    assert str(refused) == (
        "it fits none of 4 agents: too little memory on 3 (300 MiB wanted, at most 200 of 200 free),"
        " another target on 1, too few cpus on 1 (2 cpus wanted, at most 1 of 1 free)"
    )


@pytest.mark.parametrize(
    ("accepted", "role", "taken"),
    [
        ((), None, {"all"}),
        ((), "shops", {"all", "own"}),
        (("slave_public",), None, {"public"}),
        (("*", "slave_public"), "shops", {"all", "public"}),
    ],
)
def test_only_offers_of_accepted_roles_are_taken(accepted: tuple[str, ...], role: str | None, taken: set[str]) -> None:
    roles = {"all": "*", "own": "shops", "public": "slave_public"}
    offers = [offer(name, cpus=1.0, subnet=f"10.0.{n}.0/24", role=roles[name]) for n, name in enumerate(roles)]
    wanted = app(accepted_resource_roles=accepted, role=role)
    waiting = [Waiting(instance=instance(n), app=wanted) for n in range(3)]
    placed, refused = place(waiting, offers, [])
    assert {one.agent for one in placed} == taken
    assert all(one.reasons["UnfulfilledRole"] == 3 - len(taken) for one in refused)
    assert all(one.sifted["UnfulfilledRole"] == 3 - len(taken) for one in refused)


def test_gpus_are_used_up() -> None:
    waiting = [Waiting(instance=instance(n), app=app(gpus=2)) for n in range(3)]
    placed, [refused] = place(waiting, [offer(gpus=5)], [])
    assert len(placed) == 2
    assert refused.reasons == {"InsufficientGpus": 1}


def test_instances_spread_by_free_memory() -> None:
    waiting = [Waiting(instance=instance(n), app=app()) for n in range(4)]
    placed, _ = place(waiting, [offer("a", subnet="10.0.0.0/24"), offer("b", subnet="10.0.1.0/24")], [])
    assert sorted(one.agent for one in placed) == ["a", "a", "b", "b"]


def test_what_only_an_executor_can_run_goes_past_the_containerizers_of_mesos() -> None:
    contains, ours = offer("agent-1", mem=2000.0, containerizer=True), offer("agent-2")
    plain, process = app(), App(id="/p", cmd="serve", gpus=0)
    placed, refused = place([Waiting(instance=instance(1), app=plain)], [contains, ours], [])
    assert ([one.agent for one in placed], refused) == (["agent-1"], [])
    waiting = Waiting(instance=instance(2, app_id="/p"), app=process)
    placed, refused = place([waiting], [contains, ours], [])
    assert ([one.agent for one in placed], refused) == (["agent-2"], [])
    _, (why,) = place([waiting], [contains], [])
    assert why.reasons == why.sifted == {"UnfulfilledContainerizer": 1}
    assert str(why) == (
        "it fits none of 1 agents: the Docker containerizer of Mesos cannot run it on 1 (it has no container)"
    )
