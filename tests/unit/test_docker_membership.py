"""What a network of ours is told of the container that joins it."""

from typing import Any

import pytest

from coldchain.model.app import App, Container, Docker, Network
from coldchain.model.task import TaskSpec
from coldchain.runners.docker import DockerSettings
from coldchain.runners.docker.membership import driver_options, unfit, unfit_labels, with_options
from coldchain.runners.docker.specification import container_document


def make_spec(**changes: Any) -> TaskSpec:
    values: dict[str, Any] = {
        "id": "/shop/web",
        "container": Container(docker=Docker(image="shop:1")),
        "networks": (Network(name="online_net"),),
    }
    return TaskSpec(
        task_id="shop_web.instance-1._app.1",
        instance_id="shop_web.instance-1",
        app_id="/shop/web",
        version_id="V1",
        target="cluster",
        agent="box",
        app=App(**(values | changes)),
        image="sha256:abc",
        address=None,
    )


def test_the_driver_is_told_app_task_and_labels() -> None:
    labels = {"tier": "web", "team/owner": "fresh food, 生鲜", "empty": ""}
    assert driver_options(make_spec(labels=labels)) == {
        "coldchain.app": "/shop/web",
        "coldchain.task": "shop_web.instance-1._app.1",
        "coldchain.label.tier": "web",
        "coldchain.label.team/owner": "fresh food, 生鲜",
        "coldchain.label.empty": "",
    }


def test_labels_of_its_place_in_the_network_go_before_those_of_the_app() -> None:
    spec = make_spec(
        labels={"tier": "web", "zone": "any"}, networks=(Network(name="online_net", labels={"zone": "dmz"}),)
    )
    options = driver_options(spec)
    assert (options["coldchain.label.tier"], options["coldchain.label.zone"]) == ("web", "dmz")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("a b", "x", "its name has blanks"),
        ("a=b", "x", "its name has blanks, commas, quotes, `="),
        ("a,b", "x", "its name has blanks, commas"),
        ("a\n", "x", "cannot be printed"),
        ("k" * 129, "x", "its name is longer than 128 characters"),
        ("k", "v" * 513, "its value is longer than 512 characters"),
        ("k", "one\ntwo", "its value has what cannot be printed"),
    ],
)
def test_labels_that_are_no_option_are_left_out_with_the_reason(key: str, value: str, reason: str) -> None:
    spec = make_spec(labels={key: value, "fine": "1"})
    assert set(driver_options(spec)) == {"coldchain.app", "coldchain.task", "coldchain.label.fine"}
    [said] = unfit_labels(spec.app)
    assert reason in said


def test_what_is_just_short_enough_is_told() -> None:
    assert unfit("k" * 128, "v" * 512) == ""


def test_options_stand_beside_what_the_network_is_asked_for() -> None:
    document = container_document(make_spec(), "main", DockerSettings())
    told = with_options(document, {"coldchain.app": "/shop/web"})
    assert told["NetworkingConfig"] == {
        "EndpointsConfig": {"online_net": {"DriverOpts": {"coldchain.app": "/shop/web"}}}
    }
    assert document["NetworkingConfig"] == {"EndpointsConfig": {"online_net": {}}}
    assert {**told, "NetworkingConfig": 0} == {**document, "NetworkingConfig": 0}
