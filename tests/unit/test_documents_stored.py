"""Stored documents and their keys."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.documents import keys, stored
from coldchain.model.app import App, Container, Docker
from coldchain.model.backoff import Backoff
from coldchain.model.deployment import Deployment
from coldchain.model.gateway import KnownGateway
from coldchain.model.instance import Instance
from coldchain.model.task import TaskFailure
from coldchain.model.version import AppRecord, Version

APP = App(id="/shop/cart", container=Container(docker=Docker(image="x")), env={"GREETING": "grüß dich"})
INSTANCE = Instance(
    id="i-1",
    app_id="/shop/cart",
    version_id="v1",
    target="cluster",
    task_id="t-1",
    phase="serving",
    since=2.5,
    created_at=1.0,
)
DEPLOYMENT = Deployment(
    id="d-1",
    app_id="/shop/cart",
    target="cluster",
    kind="start",
    from_version=None,
    to_version="v1",
    started_at=1.0,
    deadline_at=2.0,
    cause="local",
)
FAILURE = TaskFailure(
    target="cluster",
    app_id="/shop/cart",
    task_id="t",
    instance_id="i",
    version_id="v",
    agent="a",
    state="failed",
    at=1.0,
)


@pytest.mark.parametrize("noun", [APP, Version(app=APP, id="v1", config_id="v0"), INSTANCE, DEPLOYMENT, FAILURE])
def test_what_is_stored_comes_back(noun: App | Version | Instance | Deployment | TaskFailure) -> None:
    document = stored.encode(noun)
    assert stored.decode(document, type(noun)) == noun
    assert set(json.loads(document)) == {"schema", "kind", "value"}


def test_a_newer_schema_is_refused() -> None:
    newer = json.dumps(json.loads(stored.encode(INSTANCE)) | {"schema": stored.SCHEMA + 1}).encode()
    with pytest.raises(stored.UnreadableDocument, match=r"has schema 2; this version knows up to 1\. Start the newer"):
        stored.decode(newer, Instance)


def test_another_kind_is_refused() -> None:
    with pytest.raises(stored.UnreadableDocument, match="stands where a Instance belongs"):
        stored.decode(stored.encode(DEPLOYMENT), Instance)


@pytest.mark.parametrize("cut", [0, 1, 30, -1])
def test_damage_is_refused(cut: int) -> None:
    with pytest.raises(stored.UnreadableDocument, match="is damaged"):
        stored.decode(stored.encode(INSTANCE)[:cut], Instance)


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (AppRecord(app_id="/shop/cart", version_id="v", target="cluster", cause=""), "app/cluster/%2Fshop%2Fcart"),
        (
            Version(app=APP, id="2026-01-01T00:00:00.000Z", config_id="v"),
            "version/cluster/%2Fshop%2Fcart/2026-01-01T00%3A00%3A00.000Z",
        ),
        (DEPLOYMENT, "deployment/cluster/d-1"),
        (INSTANCE, "instance/cluster/%2Fshop%2Fcart/i-1"),
        (FAILURE, "failure/cluster/%2Fshop%2Fcart"),
        (
            Backoff(target="cluster", app_id="/shop/cart", version_id="v"),
            "backoff/cluster/%2Fshop%2Fcart",
        ),
        (KnownGateway(name="edge/1", first_seen=0.0), "gateway/edge%2F1"),
    ],
)
def test_each_object_has_one_key(record: keys.Record, key: str) -> None:
    assert keys.key_of(record) == key


PART = st.text(st.sampled_from("a/%2Fé -."), min_size=1, max_size=6)


@given(st.tuples(PART, PART), st.tuples(PART, PART))
def test_no_two_objects_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    def key(target: str, app_id: str) -> str:
        return keys.key_of(AppRecord(app_id=app_id, version_id="v", target=target, cause=""))

    assert (key(*one) == key(*other)) == (one == other)
    assert key(*one).count("/") == 2
