"""Apps that register themselves: which registration is whose, and what it says."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.decisions import rotation as rotations
from coldchain.decisions.health import Verdict
from coldchain.decisions.registration import RANK, registration_id
from coldchain.decisions.self_registration import (
    CANNOT,
    by_itself,
    cannot_register,
    heard,
    matched,
    unheard,
    unmarked,
)
from coldchain.documents.application import decode_app
from coldchain.model.app import App, Container, Docker, PortMapping
from coldchain.model.errors import InvalidDocument
from coldchain.model.instance import Instance, Phase
from coldchain.model.registration import EndpointStatus, ServiceEndpoint

APP = App(
    id="/shop",
    service="shop",
    registration="self",
    container=Container(docker=Docker(image="shop:1"), port_mappings=(PortMapping(container_port=8080, host_port=0),)),
)
PHASES_OF_SOME: dict[str, Phase] = {"a": "starting", "b": "starting", "c": "serving", "d": "launching"}
WELL = Verdict(standing="healthy")


def instance(name: str, phase: Phase = "serving", address: str = "10.0.0.1", **fields: object) -> Instance:
    given: dict[str, object] = {
        "id": name,
        "app_id": "/shop",
        "version_id": "V",
        "target": "cluster",
        "task_id": f"task-{name}",
        "phase": phase,
        "since": 0.0,
        "created_at": 0.0,
        "agent": "box",
        "address": address,
        "ports": (8080,),
        "host_ports": (31000,),
        "served": phase in ("serving", *rotations.LEAVING),
    }
    return Instance(**(given | fields))  # type: ignore[arg-type]


def endpoint(
    name: str, address: str = "10.0.0.1", port: int = 8080, status: EndpointStatus = "passing"
) -> ServiceEndpoint:
    return ServiceEndpoint(id=name, address=address, port=port, status=status)


def ids(*found: ServiceEndpoint, instances: tuple[Instance, ...] = (instance("a"),)) -> dict[str, str]:
    return {name: one.id for name, one in matched("shop", [(one, APP) for one in instances], found).items()}


def test_it_is_matched_by_the_id_it_was_given_and_else_by_its_place() -> None:
    assert ids(endpoint("mine"), endpoint("shop-a", address="10.9.9.9")) == {"a": "shop-a"}
    assert ids(endpoint("mine")) == {"a": "mine"}
    assert ids(endpoint("mine", "box", 31000)) == {"a": "mine"}
    assert ids(endpoint("other", port=8081), endpoint("far", "10.0.0.2")) == {}


def test_of_two_at_its_place_the_better_one_counts() -> None:
    assert ids(endpoint("1-old", status="critical"), endpoint("2-new")) == {"a": "2-new"}


def test_what_was_given_to_another_instance_says_nothing_of_who_has_its_address_now() -> None:
    both = (instance("a", phase="stopping"), instance("b"))
    assert ids(endpoint("shop-a"), instances=both) == {"a": "shop-a"}
    assert ids(endpoint(registration_id("shop", "0" * 32))) == {}


def test_what_is_doubted_to_be_there_keeps_who_passed_and_lets_nobody_in_who_has_the_address_now() -> None:
    def owner(one: Instance) -> dict[str, ServiceEndpoint]:
        return matched("shop", [(one, APP)], [endpoint("mine")], {"mine"})

    assert owner(instance("a")) == {"a": endpoint("mine")}
    assert owner(instance("b", "starting")) == {}


registrations = st.lists(
    st.builds(
        endpoint,
        st.sampled_from(["shop-a", "shop-b", "shop-c", "x", "y", "z"]),
        st.sampled_from(["10.0.0.1", "10.0.0.2", "box"]),
        st.sampled_from([8080, 31000]),
        st.sampled_from(RANK),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)
lists = st.lists(
    st.builds(instance, st.sampled_from("abcd"), address=st.sampled_from(["10.0.0.1", "10.0.0.2"])),
    max_size=4,
    unique_by=lambda one: one.id,
)


@given(lists, registrations, st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_no_registration_counts_for_two_and_the_given_id_wins(
    listed: list[Instance], found: list[ServiceEndpoint], random: object
) -> None:
    pairs = [(one, APP) for one in listed]
    result = matched("shop", pairs, found)
    used = [one.id for one in result.values()]
    assert len(used) == len(set(used))
    assert result.keys() <= {one.id for one in listed}
    known = {one.id for one in found}
    for one in listed:
        own = registration_id("shop", one.id)
        assert (result[one.id].id == own) if own in known else True
        others = {registration_id("shop", other.id) for other in listed if other is not one}
        assert one.id not in result or result[one.id].id not in others
    random.shuffle(pairs)  # type: ignore[attr-defined]
    random.shuffle(found)  # type: ignore[attr-defined]
    assert matched("shop", pairs, found) == result


@pytest.mark.parametrize(
    ("phase", "status", "standing"),
    [
        ("starting", None, "unknown"),
        ("starting", "critical", "unknown"),
        ("starting", "passing", "healthy"),
        ("starting", "warning", "healthy"),
        ("entering", "critical", "unhealthy"),
        ("serving", None, "unhealthy"),
        ("serving", "critical", "unhealthy"),
        ("serving", "passing", "healthy"),
    ],
)
def test_without_its_registration_it_does_not_enter_and_without_heartbeats_it_leaves(
    phase: Phase, status: EndpointStatus | None, standing: str
) -> None:
    matches = {"a": endpoint("shop-a", status=status)} if status else {}
    verdict = heard(instance("a", phase), WELL, "shop", matches)
    assert (verdict.standing, verdict.marked) == (standing, False)
    assert ("service shop" in verdict.detail) == (standing != "healthy")


def test_what_its_checks_say_counts_beside_it() -> None:
    failing = Verdict(standing="unhealthy", condemned=True, detail="health/0: status 503")
    assert heard(instance("a"), failing, "shop", {"a": endpoint("shop-a")}) == failing
    verdict = heard(instance("a", "starting"), failing, "shop", {})
    assert (verdict.standing, verdict.condemned) == ("unhealthy", True)
    assert verdict.detail.endswith("; health/0: status 503")


def test_a_silent_registry_takes_nobody_out_and_lets_nobody_in() -> None:
    assert heard(instance("a", "serving"), WELL, "shop", None) == WELL
    assert heard(instance("a", "starting"), WELL, "shop", None).standing == "unknown"


def test_who_is_marked_gets_nothing_whatever_the_others_do() -> None:
    marked = heard(instance("a"), WELL, "shop", {"a": endpoint("shop-a", status="maintenance")})
    assert (marked.standing, marked.marked) == ("unhealthy", True)
    pairs = [(instance("a"), APP), (instance("b", address="10.0.0.2"), APP)]
    [failing, left] = rotations.endpoints(APP, pairs, {"a", "b"}, {"a"})["shop"]
    assert (failing.weight, left.weight) == (0, 1)
    [only] = rotations.endpoints(APP, pairs[:1], {"a"}, {"a"})["shop"]
    assert only.weight == 0


def test_who_has_not_registered_himself_and_says_that_he_cannot_is_the_platforms() -> None:
    listed = [(instance(name, phase), APP) for name, phase in PHASES_OF_SOME.items()]
    mute = msgspec.structs.replace(instance("m", "starting"), cannot_register=True)
    assert [one.id for one in unheard([*listed, (mute, APP)], {"b": endpoint("shop-b")})] == ["a"]
    assert by_itself(listed[0][0], APP)
    assert not by_itself(mute, APP)
    assert cannot_register(b"up\n" + CANNOT + b" here is no sleep\n")
    assert not cannot_register(b"the app says: " + CANNOT)


def test_those_that_leave_are_marked_once() -> None:
    listed = [instance("a"), instance("b", "draining"), instance("c", "draining"), instance("d", "draining")]
    matches = {
        "a": endpoint("shop-a"),
        "b": endpoint("shop-b"),
        "c": endpoint("shop-c", status="maintenance"),
    }
    assert unmarked(listed, matches) == ("shop-b",)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"service": None}, "needs a `service`"),
        ({"container": None}, "needs something to run"),
        ({"container": {"docker": {"image": "a"}}}, "needs a port"),
        ({"routes": [{"domains": ["a.b"]}, {"domains": ["c.d"], "portIndex": 1}]}, "is for one port"),
        ({"registration": "nobody"}, "platform"),
    ],
)
def test_what_cannot_register_itself_is_said(fields: dict[str, object], words: str) -> None:
    container = {"docker": {"image": "a"}, "portMappings": [{"containerPort": 80}, {"containerPort": 81}]}
    document = {"id": "/shop", "service": "shop", "registration": "self", "container": container}
    assert decode_app(document).registers_itself
    with pytest.raises(InvalidDocument) as caught:
        decode_app(document | fields)
    assert any(one.path == "/registration" and words in one.reason for one in caught.value.problems)
