"""Every event of Marathon's comes where it truly happens, and nowhere else."""

from typing import Any

import pytest
from msgspec import structs

from coldchain.documents.event_text import event_body
from coldchain.model.app import App, Container, Docker, HealthCheck, PortMapping, ReadinessCheck
from coldchain.model.errors import Conflict
from coldchain.model.task import TaskStatus
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(3)
CHECK = HealthCheck(path="/health", interval_seconds=1.0, timeout_seconds=0.5, grace_period_seconds=5.0)
LOOSE = HealthCheck(path="/loose", interval_seconds=2.0, timeout_seconds=0.5)


def told(platform: Platform, *types: str) -> list[dict[str, Any]]:
    """The bodies of all events of these types, in order."""
    return [event_body(one) for one in platform.controller.events.kept() if one.type in types]


def kinds(platform: Platform, *types: str) -> list[str]:
    return [body["eventType"] for body in told(platform, *types)]


DEPLOYMENT = (
    "group_change_success",
    "deployment_info",
    "deployment_step_success",
    "deployment_step_failure",
    "deployment_success",
    "deployment_failed",
    "app_terminated_event",
)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deployment_is_told_from_its_acceptance_to_its_end(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        created = await platform.ended(await operations.create(example_app(id="/a/b/shop"), "test"))
        whole = ["group_change_success", "deployment_info", "deployment_step_success", "deployment_success"]
        assert kinds(platform, *DEPLOYMENT) == whole
        accepted, begun, step, ended = told(platform, *DEPLOYMENT)
        assert (accepted["groupId"], accepted["version"]) == ("/a/b", created.to_version)
        assert begun["plan"] == step["plan"] == ended["plan"]
        assert ended["id"] == begun["plan"]["id"] == created.id
        await platform.ended(await operations.delete("/a/b/shop", "test", force=False))
        assert kinds(platform, *DEPLOYMENT) == [*whole, *whole, "app_terminated_event"]

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deployment_that_fails_has_its_step_fail_first_and_is_taken_back_by_another(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(), "test"))
        bad = image("bad").docker
        platform.engine.life = lambda spec: Life(
            start_seconds=0.1, healthy=spec.app.container is None or spec.app.container.docker != bad
        )
        before = len(told(platform, *DEPLOYMENT))
        edit = to(container=image("bad"), deadline_seconds=20.0)
        failed = await platform.ended(await operations.change("/shop", edit, "test", force=False))
        await platform.until(lambda: not platform.controller.state.running)
        assert kinds(platform, *DEPLOYMENT)[before:][:2] == ["group_change_success", "deployment_info"]
        step, end = told(platform, "deployment_step_failure", "deployment_failed")
        assert (step["eventType"], end["eventType"]) == ("deployment_step_failure", "deployment_failed")
        assert (end["id"], end["reason"]) == (failed.id, failed.reason)
        assert kinds(platform, *DEPLOYMENT)[-1] == "deployment_success"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_change_that_is_refused_has_its_groups_change_fail(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await operations.create(example_app(id="/a/shop"), "test")
        with pytest.raises(Conflict) as locked:
            await operations.change("/a/shop", to(instances=3), "test", force=False)
        [body] = told(platform, "group_change_failed")
        assert (body["groupId"], body["reason"]) == ("/a", str(locked.value))
        assert kinds(platform, "group_change_success") == ["group_change_success"]

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_failed_probes_are_told_and_who_is_killed_for_them(seed: int) -> None:
    async def program(platform: Platform) -> None:
        app = example_app(instances=3, health_checks=(CHECK,))
        await platform.ended(await platform.controller.operations.create(app, "test"))
        assert told(platform, "failed_health_check_event", "unhealthy_instance_kill_event") == []
        sick = platform.serving()[0]
        platform.prober.failing = lambda probe: probe.instance_id == sick.id
        await platform.until(lambda: sick.id not in {one.id for one in platform.instances()})
        failures = told(platform, "failed_health_check_event")
        assert {body["instanceId"] for body in failures} == {sick.id}
        assert len(failures) > CHECK.max_consecutive_failures
        assert failures[0]["healthCheck"]["path"] == "/health"
        [kill] = told(platform, "unhealthy_instance_kill_event")
        assert (kill["instanceId"], kill["taskId"], kill["host"]) == (sick.id, sick.task_id, sick.agent)
        assert "health/0" in kill["reason"]

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_not_ready_fails_no_health_check(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.prober.failing = lambda probe: probe.check.startswith("readiness")
        app = example_app(
            container=Container(
                docker=Docker(image="shop:v1"), port_mappings=(PortMapping(container_port=8080, name="http-api"),)
            ),
            readiness_checks=(ReadinessCheck(interval_seconds=1.0, timeout_seconds=0.5),),
        )
        await platform.controller.operations.create(app, "test")
        await platform.until(lambda: any(one.phase == "starting" for one in platform.instances()))
        await platform.clock.sleep(10.0)
        assert any(check.failed_in_a_row for one in platform.controller.health.health.values() for check in one.checks)
        assert told(platform, "failed_health_check_event") == []

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_in_the_grace_are_no_failed_checks(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.prober.failing = lambda probe: True
        app = example_app(health_checks=(CHECK,))
        await platform.controller.operations.create(app, "test")
        await platform.until(lambda: any(one.phase == "starting" for one in platform.instances()))
        await platform.clock.sleep(4.0)
        assert told(platform, "failed_health_check_event") == []
        await platform.clock.sleep(4.0)
        assert told(platform, "failed_health_check_event") != []

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_scaled_away_is_not_killed_for_his_health(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(instances=3), "test"))
        await platform.ended(await operations.change("/shop", to(instances=1), "test", force=False))
        assert told(platform, "unhealthy_instance_kill_event") == []

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_health_checks_that_come_and_go(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        both = ("add_health_check_event", "remove_health_check_event")

        async def changed(**fields: object) -> list[tuple[str, str, str]]:
            before = len(told(platform, *both))

            def edit(app: App | None) -> App:
                return example_app(**{"health_checks": (CHECK,)} | fields)

            await platform.ended(await operations.change("/shop", edit, "test", force=False))
            wanted = platform.controller.state.wanted("/shop")
            assert wanted is not None
            bodies = told(platform, *both)[before:]
            return [(one["eventType"], one["healthCheck"]["path"], one["version"] == wanted.id) for one in bodies]

        assert await changed() == [("add_health_check_event", "/health", True)]
        assert await changed(cpus=0.2) == []
        assert await changed(health_checks=(CHECK, LOOSE)) == [("add_health_check_event", "/loose", True)]
        assert await changed(health_checks=(LOOSE,)) == [("remove_health_check_event", "/health", True)]
        await platform.ended(await operations.delete("/shop", "test", force=False))
        assert told(platform, *both)[-1]["eventType"] == "remove_health_check_event"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_that_nobody_knows_is_told_when_it_ends(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await platform.ended(await platform.controller.operations.create(example_app(), "test"))
        status = TaskStatus(
            task_id="ghost.instance-1._app.1",
            instance_id="1",
            app_id="/ghost",
            target="cluster",
            agent="agent-9",
            state="running",
            at=platform.clock.now(),
        )
        platform.controller.tasks.note(status)
        assert told(platform, "unknown_instance_terminated_event") == []
        ended = structs.replace(status, state="failed")
        platform.controller.tasks.note(ended)
        await platform.ended(await platform.controller.operations.delete("/shop", "test", force=False))
        [body] = told(platform, "unknown_instance_terminated_event")
        assert (body["instanceId"], body["runSpecId"], body["condition"]) == ("1", "/ghost", "Failed")

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_engine_answers_first_falls_silent_and_answers_again(seed: int) -> None:
    async def program(platform: Platform) -> None:
        scheduler = (
            "scheduler_registered_event",
            "scheduler_reregistered_event",
            "scheduler_disconnected_event",
        )
        await platform.until(lambda: platform.controller.tasks.known)
        assert kinds(platform, *scheduler) == ["scheduler_registered_event"]
        platform.engine.available = False
        await platform.until(lambda: platform.controller.tasks.trouble)
        platform.engine.available = True
        await platform.until(lambda: not platform.controller.tasks.trouble)
        assert kinds(platform, *scheduler) == [
            "scheduler_registered_event",
            "scheduler_disconnected_event",
            "scheduler_reregistered_event",
        ]
        await platform.kill()
        await platform.start()
        await platform.until(lambda: platform.controller.tasks.known)
        assert kinds(platform, *scheduler) == ["scheduler_reregistered_event"]

    run(program, seed)
