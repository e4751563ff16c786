"""What is told of a service's endpoints, from what the registry says and what the rotation has."""

import msgspec
import pytest

from coldchain.decisions.registration import endpoints
from coldchain.decisions.service_view import (
    FOLLOWING,
    NAMED,
    OVERRULED,
    PAST,
    PORTLESS,
    STRANGER,
    TWICE,
    UNLISTED,
    UNREGISTERED,
    UNROUTED,
    told,
)
from coldchain.model.instance import Instance
from coldchain.model.registration import EndpointStatus, KnownEndpoint
from coldchain.model.rotation import Endpoint, ServiceRotation


def known(number: int = 1, status: EndpointStatus = "passing", **fields: object) -> KnownEndpoint:
    given = {"id": f"old-{number}", "address": f"10.0.0.{number}", "port": 80, "status": status, **fields}
    return KnownEndpoint(**given)  # type: ignore[arg-type]


def rotation(*found: KnownEndpoint) -> ServiceRotation:
    """As the rotation follows what is in the registry."""
    return ServiceRotation(endpoints=endpoints(found))


def ours(number: int = 1, weight: int = 1) -> Endpoint:
    return Endpoint(instance_id=f"shop.{number}", address=f"10.0.0.{number}", port=80, weight=weight)


def test_who_passes_is_in_and_nothing_is_said_of_him() -> None:
    [one] = told([known()], rotation(known()))
    assert (one.in_rotation, one.why) == (True, "")


def test_who_fails_is_out_with_the_words_of_his_check() -> None:
    listed = [known(1), known(2, "critical", why="alive: TTL expired"), known(3, "maintenance", why="moving")]
    assert [(one.in_rotation, one.why) for one in told(listed, rotation(*listed))] == [
        (True, ""),
        (False, "alive: TTL expired"),
        (False, "moving"),
    ]


def test_when_most_fail_they_serve_and_it_is_said() -> None:
    listed = [known(1, "critical", why="refused"), known(2, "critical"), known(3)]
    found = told(listed, rotation(*listed))
    assert [(one.in_rotation, one.why) for one in found] == [
        (True, f"refused; {OVERRULED}"),
        (True, OVERRULED),
        (True, ""),
    ]


def test_a_place_that_is_registered_twice_is_in_by_the_better_one() -> None:
    listed = [known(1), known(2, "critical", address="10.0.0.1")]
    assert [(one.in_rotation, one.why) for one in told(listed, rotation(*listed))] == [(True, ""), (True, TWICE)]


@pytest.mark.parametrize(
    ("one", "has", "why"),
    [
        (known(address="host.example"), rotation(), NAMED),
        (known(port=0), rotation(), PORTLESS),
        (known(), rotation(), FOLLOWING),
        (known(5), ServiceRotation(endpoints=(ours(1),)), STRANGER),
        (known(5, app_id="/shop"), ServiceRotation(endpoints=(ours(1),)), PAST),
        (known(1, app_id="/shop"), ServiceRotation(endpoints=(ours(1, weight=0),)), FOLLOWING),
    ],
)
def test_who_is_out_though_he_passes_is_told_why(one: KnownEndpoint, has: ServiceRotation, why: str) -> None:
    first = told([one], has)[0]
    assert (first.known, first.in_rotation, first.why) == (one, False, why)


def test_who_is_marked_in_the_registry_before_the_gateways_know_is_in() -> None:
    [one] = told([known(1, "maintenance", why="moving")], rotation(known(1)))
    assert (one.in_rotation, one.why) == (True, f"moving; {FOLLOWING}")


def test_who_serves_and_is_not_listed_is_told_too() -> None:
    has = ServiceRotation(endpoints=(*rotation(known(1)).endpoints, ours(2), ours(3, weight=0)))
    found = told([], has)
    assert [(one.endpoint and one.endpoint.instance_id, one.in_rotation, one.why) for one in found] == [
        ("registry/old-1", True, UNLISTED),
        ("shop.2", True, UNREGISTERED),
    ]


def test_a_service_that_nobody_here_uses_is_in_no_rotation() -> None:
    [one] = told([known(1, "warning", why="disk: nearly full")], None)
    assert (one.in_rotation, one.why) == (None, f"disk: nearly full; {UNROUTED}")


def test_who_registered_itself_belongs_to_its_app_wherever_it_says_that_it_is() -> None:
    owner = Instance(
        id="shop.1",
        app_id="/shop",
        version_id="V",
        target="cluster",
        task_id="T",
        phase="serving",
        since=0.0,
        created_at=0.0,
    )
    by_host_port = known(7, address="agent-1", port=31000)
    has = ServiceRotation(endpoints=(ours(1),))
    [one] = told([by_host_port], has, {by_host_port.id: owner})
    assert one.known is not None
    assert (one.known.app_id, one.endpoint, one.in_rotation, one.why) == ("/shop", ours(1), True, "")
    young = msgspec.structs.replace(owner, id="shop.2", phase="starting")
    [one, other] = told([known(2)], has, {"old-2": young})
    assert one.known is not None
    assert (one.known.app_id, one.in_rotation, one.why) == ("/shop", False, "its instance is starting")
    assert (other.endpoint, other.in_rotation) == (ours(1), True)
