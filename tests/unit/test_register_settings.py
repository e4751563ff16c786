"""What the environment says of a registration is what the platform says there."""

from coldchain.decisions.task_environment import registration_variables
from coldchain.model.app import App, Container, Docker, PortMapping
from coldchain.model.task import TaskSpec
from coldchain_register import Settings


def test_what_the_platform_gives_is_understood() -> None:
    container = Container(docker=Docker(image="shop:1"), port_mappings=(PortMapping(container_port=8080),))
    app = App(
        id="/shop",
        service="shop",
        registration="self",
        container=container,
        labels={"blue": "tag", "green": "tag"},
        settle_seconds=1.5,
        task_kill_grace_period_seconds=20,
    )
    spec = TaskSpec(
        task_id="t",
        instance_id="1f",
        app_id="/shop",
        version_id="V",
        target="cluster",
        agent="box",
        app=app,
        image=None,
        address="172.18.0.2",
        registry="10.0.0.5:8500",
    )
    given = registration_variables(spec, (8080,))
    assert Settings.from_environment(given) == Settings(
        registry="10.0.0.5:8500",
        service="shop",
        registration_id="shop-1f",
        address="172.18.0.2",
        port=8080,
        tags=("blue", "green"),
        meta={"app": "/shop", "version": "V", "instance": "1f"},
        ttl_seconds=15.0,
        settle_seconds=2.0,
        grace_seconds=18.0,
    )
    assert Settings.from_environment(given | {"COLDCHAIN_REGISTRY": ""}) is None
    assert "secret" not in repr(Settings.from_environment(given | {"COLDCHAIN_REGISTRY_TOKEN": "secret"}))


def test_a_few_words_are_enough() -> None:
    found = Settings.from_environment({"COLDCHAIN_REGISTRY": "127.0.0.1:8500", "COLDCHAIN_SERVICE": "shop"})
    assert found is not None
    assert found.registration_id.startswith("shop-")
    assert (found.port, found.ttl_seconds, found.settle_seconds, found.grace_seconds) == (0, 15.0, 3.0, 10.0)
