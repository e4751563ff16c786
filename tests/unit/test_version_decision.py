"""Which version and which deployment a user's change makes."""

import msgspec
import pytest

from coldchain.decisions.version import change, kind_of, next_version
from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.version import Version

SHOP = App(id="/shop", instances=2)
CURRENT = Version(app=SHOP, id="2024-01-01T00:00:00.000Z", config_id="2023-01-01T00:00:00.000Z", image="sha256:1")
NOW = 1_704_153_600.0


def test_scaling_keeps_configuration_and_image() -> None:
    scaled = next_version(CURRENT, msgspec.structs.replace(SHOP, instances=5), NOW)
    assert (scaled.config_id, scaled.image, scaled.app.instances) == (CURRENT.config_id, "sha256:1", 5)
    assert scaled.id > CURRENT.id
    assert kind_of(CURRENT, scaled) == "scale"


def test_any_other_change_and_a_restart_make_a_new_configuration() -> None:
    changed = next_version(CURRENT, msgspec.structs.replace(SHOP, cmd="true"), NOW)
    restarted = next_version(CURRENT, SHOP, NOW, restart=True)
    for version in (changed, restarted):
        assert version.config_id == version.id
        assert version.image is None
        assert kind_of(CURRENT, version) == "replace"


def test_a_new_version_never_has_the_id_of_one_on_record() -> None:
    last = next_version(None, SHOP, NOW).id
    assert next_version(None, SHOP, NOW, last=last).id > last


def running(**fields: object) -> Deployment:
    given: dict[str, object] = {"id": "d1", "app_id": "/shop", "target": "cluster", "kind": "replace", "cause": "test"}
    given |= {"from_version": "good", "to_version": "bad", "started_at": 0.0, "deadline_at": 1.0}
    return Deployment(**(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (None, CURRENT.id),
        (running(), "good"),
        (running(kind="rollback", rollback_of="d0", from_version="bad", to_version="good again"), "good again"),
    ],
)
def test_a_rollback_leads_to_the_last_version_that_was_reached(before: Deployment | None, expected: str) -> None:
    wanted = next_version(CURRENT, msgspec.structs.replace(SHOP, cmd="true"), NOW)
    made = change(CURRENT, wanted, before, kind="replace", deployment_id="d2", cause="test", now=NOW)
    assert made.deployment.from_version == expected
    if before is not None:
        assert made.ended is not None
        assert made.ended.state == "superseded"
        assert "d2" in made.ended.reason


def test_a_deleted_app_has_no_record() -> None:
    made = change(CURRENT, None, None, kind="stop", deployment_id="d2", cause="test", now=NOW)
    assert made.record is None
    assert made.version is None
    assert (made.deployment.from_version, made.deployment.to_version) == (CURRENT.id, None)
