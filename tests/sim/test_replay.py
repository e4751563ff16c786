"""An incident recorded on a simulated platform: decided again alike, and where the code was changed it is found."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from coldchain.cli.application import application
from coldchain.decisions import deployment as deployments
from coldchain.documents.bundle import SCHEMA, Bundle, decode_bundle, encode_bundle, replay
from coldchain.model.app import App
from coldchain.testing.platform import Platform, example_app, image, run


def incident(seed: int) -> Bundle:
    """A version that never becomes healthy is deployed, fails and is taken back; the app is deleted."""
    kept: list[Bundle] = []

    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(instances=3), "test"))
        platform.prober.failing = lambda probe: _is_new(platform, probe.instance_id)
        bad = example_app(instances=3, container=image("v2"))
        failed = await platform.ended(await operations.change("/shop", lambda app: bad, "test", force=False))
        assert failed.state == "failed"
        await platform.until(lambda: not platform.controller.state.running, 300)
        await platform.ended(await operations.delete("/shop", "test", force=False))
        await platform.until(lambda: "/shop" not in platform.controller.state.versions, 300)
        decisions = platform.controller.recorder.recorded("/shop")
        kept.append(Bundle(schema=SCHEMA, coldchain="1", app_id="/shop", made_at=0.0, decisions=decisions))

    run(program, seed=seed)
    return kept[0]


def _is_new(platform: Platform, instance_id: str) -> bool:
    instance = platform.controller.state.instances.get(instance_id)
    if instance is None:
        return True
    container = platform.controller.state.app_of(instance).container
    return container is not None and container.docker.image.endswith("v2")


def saved(bundle: Bundle, folder: Path) -> str:
    path = folder / "bundle.json"
    path.write_bytes(encode_bundle(bundle))
    return str(path)


@settings(max_examples=6)
@given(st.integers(0, 2**32))
def test_an_incident_is_decided_again_alike(seed: int) -> None:
    bundle = incident(seed)
    assert decode_bundle(encode_bundle(bundle)) == bundle
    asked = {action["action"] for one in bundle.decisions for action in one.actions}
    assert {
        "CreateInstances",
        "Place",
        "LaunchTask",
        "Move",
        "KillTask",
        "EndDeployment",
        "StartRollback",
        "RemoveApp",
    } <= asked
    assert [one for one in replay(decode_bundle(encode_bundle(bundle))) if not one.same] == []


def test_a_replay_tells_each_decision_with_its_cause(tmp_path: Path) -> None:
    bundle = incident(0)
    result = CliRunner().invoke(application, ["replay", saved(bundle, tmp_path)])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == sum(len(one.actions) for one in bundle.decisions)
    assert "EndDeployment state=failed: deadline of 60 s passed" in result.stdout


def test_a_changed_decision_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(incident(0), tmp_path)
    real = deployments.capacity

    def narrower(app: App) -> tuple[int, int]:
        minimum, maximum = real(app)
        return minimum, maximum - 1

    monkeypatch.setattr(deployments, "capacity", narrower)
    result = CliRunner().invoke(application, ["replay", path])
    assert result.exit_code == 1
    changed = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert any(line.startswith("-") and "CreateInstances count=3" in line for line in changed)
    assert any(line.startswith("+") and "CreateInstances count=2" in line for line in changed)
    documents = json.loads(CliRunner().invoke(application, ["replay", path, "--json"]).stdout)
    assert not all(one["same"] for one in documents)


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"schema": 2, "coldchain": "9"}'])
def test_what_is_no_bundle_is_said(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "no.json"
    path.write_bytes(text)
    result = CliRunner().invoke(application, ["replay", str(path)])
    assert result.exit_code == 2
    assert "bundle" in result.stderr
