"""A rollback without a version leads to the last one that is not known to have failed."""

from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.rollback import last_good
from coldchain.model.app import App
from coldchain.model.deployment import Deployment, DeploymentState
from coldchain.model.version import Version


def version(name: str, config: str | None = None) -> Version:
    return Version(app=App(id="/shop"), id=name, config_id=config or name)


def deployment(to: str, state: DeploymentState) -> Deployment:
    return Deployment(
        id=f"to-{to}-{state}",
        app_id="/shop",
        target="cluster",
        kind="replace",
        from_version=None,
        to_version=to,
        started_at=0.0,
        deadline_at=1.0,
        cause="",
        state=state,
    )


def test_what_failed_is_passed_over() -> None:
    good, bad, current = version("1"), version("3"), version("4", config="2")
    versions = [good, version("2"), bad, current]
    done = [deployment("1", "succeeded"), deployment("2", "succeeded"), deployment("4", "succeeded")]
    for state in ("failed", "cancelled", "superseded"):
        assert last_good(current, versions, [*done, deployment("3", state)]) == good  # type: ignore[arg-type]
    assert last_good(current, versions, [*done, deployment("3", "failed"), deployment("3", "succeeded")]) == bad


def test_what_nobody_remembers_may_be_good_and_the_same_configuration_is_none() -> None:
    current = version("9", config="7")
    assert last_good(current, [version("6"), version("7"), current], []) == version("6")
    assert last_good(current, [version("7"), current], []) is None
    assert last_good(current, [version("8"), current], [deployment("8", "failed")]) is None
    assert last_good(current, [version("8"), current], [deployment("8", "running")]) == version("8")


STATES: tuple[DeploymentState, ...] = ("succeeded", "failed", "cancelled", "superseded", "running")


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(STATES)), max_size=10), st.integers(1, 6))
def test_it_is_the_latest_other_one_that_came_up_or_was_never_tried(
    tried: list[tuple[int, DeploymentState]], current: int
) -> None:
    versions = [version(str(number)) for number in range(1, 7)]
    found = last_good(versions[current - 1], versions, [deployment(str(to), state) for to, state in tried])
    usable = [
        number
        for number in range(1, 7)
        if number != current
        and ((number, "succeeded") in tried or all(state == "running" for to, state in tried if to == number))
    ]
    assert found == (versions[max(usable) - 1] if usable else None)
