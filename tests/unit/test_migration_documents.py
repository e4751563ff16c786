"""Marathon's apps become definitions: what carries over, what does not and is said, and what cannot be; written by hand
from Marathon's documentation, of the time before 1.5 and after."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.documents.application import decode_app, decode_yaml
from coldchain.documents.migration import Migrated, migrated_app
from coldchain.documents.migration_file import checked, file_name, untouched
from coldchain.documents.text import parse_yaml
from coldchain.documents.yaml_writer import write_yaml

URL = "http://marathon.test:8080"
ANSWERED: dict[str, Any] = {
    "id": "/shop/cart",
    "acceptedResourceRoles": ["*"],
    "args": None,
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "cmd": None,
    "container": {
        "type": "DOCKER",
        "docker": {"forcePullImage": False, "image": "cart:v1", "parameters": [], "privileged": False},
        "volumes": [],
        "portMappings": [
            {
                "containerPort": 8080,
                "hostPort": 0,
                "labels": {},
                "name": "http-api",
                "networkNames": [],
                "protocol": "tcp",
                "servicePort": 10001,
            }
        ],
    },
    "cpus": 0.5,
    "dependencies": [],
    "deployments": [],
    "disk": 0,
    "env": {"LEVEL": "debug", "START": "08:30"},
    "executor": "",
    "gpus": 0,
    "healthChecks": [
        {
            "gracePeriodSeconds": 60,
            "intervalSeconds": 60,
            "maxConsecutiveFailures": 3,
            "path": "/health",
            "portIndex": 0,
            "protocol": "HTTP",
            "timeoutSeconds": 20,
            "delaySeconds": 15,
        }
    ],
    "instances": 2,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {"team": "web"},
    "maxLaunchDelaySeconds": 300,
    "mem": 256,
    "networks": [{"mode": "container/bridge", "labels": {}}],
    "requirePorts": False,
    "role": "*",
    "tasksHealthy": 2,
    "tasksRunning": 2,
    "tasksStaged": 0,
    "tasksUnhealthy": 0,
    "tty": False,
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
    "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
    "version": "2021-07-01T10:00:00.000Z",
    "versionInfo": {
        "lastConfigChangeAt": "2021-07-01T10:00:00.000Z",
        "lastScalingAt": "2021-07-01T10:00:00.000Z",
    },
}
"""An app of Marathon 1.8 as it answers one of which nobody wrote more than a dozen fields."""


ODD: dict[str, Any] = {"networks": None, "ipAddress": {"groups": ["a\n- x: 1\u2028y\x1b"]}}


def answered(**fields: Any) -> dict[str, Any]:
    return copy.deepcopy(ANSWERED) | fields


def with_container(**fields: Any) -> dict[str, Any]:
    document = answered()
    document["container"] |= fields
    return document


def kinds(migrated: Migrated) -> list[tuple[str, str]]:
    return [(note.kind, note.path) for note in (*migrated.problems, *migrated.notes)]


def test_what_nobody_wrote_is_not_there_and_nothing_is_noted() -> None:
    assert migrated_app(ANSWERED) == Migrated(
        app_id="/shop/cart",
        document={
            "id": "/shop/cart",
            "instances": 2,
            "cpus": 0.5,
            "mem": 256,
            "container": {
                "docker": {"image": "cart:v1"},
                "portMappings": [
                    {"containerPort": 8080, "hostPort": 0, "name": "http-api", "servicePort": 10001},
                ],
            },
            "networks": [{"mode": "container/bridge"}],
            "env": {"LEVEL": "debug", "START": "08:30"},
            "labels": {"team": "web"},
            "healthChecks": [{"path": "/health", "portIndex": 0, "gracePeriodSeconds": 60, "delaySeconds": 15}],
        },
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dependencies", ["/db"]),
        ("acceptedResourceRoles", ["slave_public"]),
        ("role", "dev"),
        ("unreachableStrategy", {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 600}),
        ("unreachableStrategy", "disabled"),
        ("tty", True),
        ("networks", [{"mode": "container/bridge", "labels": {"rack": "1"}}]),
    ],
)
def test_what_has_a_field_here_carries_over(field: str, value: Any) -> None:
    migrated = migrated_app(answered(acceptedResourceRoles=None) | {field: value})
    assert not migrated.problems
    assert decode_app(migrated.document) == decode_app({**migrated_app(ANSWERED).document, field: value})
    assert [note.kind for note in migrated.notes] == ["advice"] * (field == "acceptedResourceRoles")


def test_what_an_app_runs_as_well_without_is_left_out_and_said() -> None:
    migrated = migrated_app(answered(networks=None, ipAddress={"groups": ["rack-1"]}))
    assert not migrated.problems
    [note] = migrated.notes
    assert (note.path, note.kind) == ("/ipAddress/groups", "left out")
    assert '["rack-1"] does not carry over' in note.reason
    assert note.todo
    known = migrated_app(answered(networks=[{"mode": "container"}]))
    assert decode_app(migrated.document) == decode_app(known.document)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (answered(residency={"taskLostBehavior": "WAIT_FOREVER"}), "/residency"),
        (answered(executor="/opt/executor"), "/executor"),
        (answered(storeUrls=["http://a.test/b"]), "/storeUrls"),
        (answered(somethingNew=False), "/somethingNew"),
        (answered(instances="two"), "/instances"),
        (answered(id="/Shop"), "/id"),
        (answered(networks=[{"mode": "container", "name": "a"}, {"mode": "container", "name": "b"}]), "/networks"),
        (
            with_container(volumes=[{"containerPath": "d", "persistent": {"size": 1}}]),
            "/container/volumes/0/persistent",
        ),
        (with_container(linuxInfo={"seccomp": {"unconfined": True}}), "/container/linuxInfo"),
        ({"id": "/late", "container": {"type": "MESOS", "volumes": [{"containerPath": "d"}]}}, "/container/type"),
    ],
)
def test_what_cannot_be_is_rejected_whole_with_every_reason(document: dict[str, Any], path: str) -> None:
    migrated = migrated_app(document | {"gpus": "many"})
    paths = [note.path for note in migrated.problems]
    assert path in paths
    assert "/gpus" in paths
    assert all(note.kind == "rejected" and note.todo for note in migrated.problems)
    told, meant = migrated.document, document
    for part in path.split("/")[1:]:
        told, meant = (one[int(part)] if isinstance(one, list) else one[part] for one in (told, meant))
    assert told == meant


def test_what_is_said_in_an_old_and_a_new_form_is_said_once() -> None:
    old = answered(
        uris=["http://files.test/a.tgz"],
        fetch=[{"uri": "http://files.test/a.tgz", "extract": True, "executable": False, "cache": False}],
        ports=[10000],
        portDefinitions=[{"port": 10000, "protocol": "tcp", "labels": {}}],
        cmd="./run",
        args=[],
        container=None,
        networks=None,
        storeUrls=[],
        healthChecks=[],
    )
    migrated = migrated_app(old)
    assert not migrated.problems
    assert migrated.notes == ()
    assert migrated.document["fetch"] == [{"uri": "http://files.test/a.tgz"}]
    assert migrated.document["portDefinitions"] == [{"port": 10000}]
    assert migrated.document["cmd"] == "./run"


def test_the_service_ports_of_mapped_ports_stood_in_ports_too() -> None:
    old = answered(ports=[10007], portDefinitions=[{"port": 10007, "protocol": "tcp", "labels": {}}])
    del old["container"]["portMappings"][0]["servicePort"]
    migrated = migrated_app(old)
    assert not migrated.problems
    assert migrated.document["container"]["portMappings"][0]["servicePort"] == 10007
    assert "portDefinitions" not in migrated.document
    contradicting = answered(portDefinitions=[{"port": 10009}])
    assert ("rejected", "/portDefinitions") in kinds(migrated_app(contradicting))


def test_the_universal_runtime_becomes_docker_or_a_process() -> None:
    image = migrated_app(with_container(type="MESOS"))
    assert image.document["container"] == migrated_app(ANSWERED).document["container"]
    assert kinds(image) == [("changed", "/container/type")]
    chosen = migrated_app(with_container(type="MESOS") | {"user": "nobody"})
    assert (chosen.document["user"], kinds(chosen)) == ("nobody", [("changed", "/container/type")])
    process = migrated_app({"id": "/late", "cmd": "sleep 100", "container": {"type": "MESOS", "volumes": []}})
    assert process.document["cmd"] == "sleep 100"
    assert "container" not in process.document
    assert kinds(process) == [("changed", "/container/type")]


def test_credentials_for_images_are_not_fetched_by_apps() -> None:
    fetched = [{"uri": "file:///etc/docker.tar.gz", "cache": True}]
    migrated = migrated_app(answered(fetch=fetched, user="nobody"))
    assert "fetch" not in migrated.document
    assert "user" not in migrated.document
    assert kinds(migrated) == [("left out", "/user"), ("left out", "/fetch/0")]
    other = migrated_app(answered(fetch=[*fetched, {"uri": "http://files.test/data.tgz"}]))
    assert ("rejected", "/fetch") in kinds(other)
    process = migrated_app({"id": "/late", "cmd": "x", "fetch": [{"uri": "http://files.test/a", "cache": True}]})
    assert process.document["fetch"] == [{"uri": "http://files.test/a"}]
    assert kinds(process) == [("left out", "/fetch/0/cache")]


def test_secrets_are_to_be_set_and_what_looks_like_one_is_named_not_shown() -> None:
    document = answered(
        env={"PW": {"secret": "pw"}, "DB_PASSWORD": "hunter2", "DB": "postgres://me:hunter2@db.test/x", "A": "b"},
        secrets={"pw": {"source": "/shop/db/password"}},
    )
    migrated, text = checked(migrated_app(document), URL)
    assert migrated.document["env"] == document["env"]
    assert migrated.document["secrets"] == {"pw": {"source": "shop.db.password"}}
    assert kinds(migrated) == [
        ("changed", "/secrets/pw"),
        ("advice", "/env/DB_PASSWORD"),
        ("advice", "/env/DB"),
    ]
    assert "coldchain secret set shop.db.password" in migrated.notes[0].todo
    comments = "".join(line for line in text.splitlines() if line.startswith("#"))
    assert "hunter2" not in comments


def test_what_carries_over_and_is_worth_a_word() -> None:
    document = with_container()
    document["container"]["docker"]["privileged"] = True
    document |= {
        "labels": {"HAPROXY_0_VHOST": "shop.test"},
        "constraints": [["rack", "GROUP_BY"], ["hostname", "UNIQUE"]],
        "networks": [{"mode": "container", "name": "dcos"}],
    }
    assert kinds(migrated_app(document)) == [
        ("advice", "/labels"),
        ("advice", "/constraints/0"),
        ("advice", "/networks/0/name"),
        ("advice", "/container/docker/privileged"),
    ]


def test_what_a_group_waits_for_is_said_of_its_apps_only() -> None:
    waits = {"/shop": ["/db", "/cache"], "/": [], "/sho": ["/x"], "/shop/cart/below": ["/y"]}
    migrated = migrated_app(answered(dependencies=["/db"]), waits)
    [note] = migrated.notes
    assert (note.path, note.kind) == ("/dependencies", "changed")
    assert "the group /shop waits for /cache, /db" in note.reason
    assert migrated.document["dependencies"] == ["/db", "/cache"]
    assert migrated_app(answered(id="/other"), waits).notes == ()


@pytest.mark.parametrize("document", [None, [], "app", {}, {"id": None}, {"id": 7}, {"id": "/a", "env": [[[]]]}])
def test_anything_may_be_answered(document: object) -> None:
    migrated, text = checked(migrated_app(document), URL)
    assert migrated.problems
    assert file_name(migrated).endswith(".yaml.rejected")
    assert untouched(text)


def test_what_is_nested_without_an_end_is_not_followed() -> None:
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"a": deep}
    assert migrated_app({"id": "/a", "b": deep}).problems


def test_a_file_is_valid_and_knows_whether_somebody_changed_it() -> None:
    migrated, text = checked(migrated_app(answered(**ODD)), URL)
    assert decode_yaml(text) == decode_app(migrated.document)
    assert text.startswith("# coldchain migrate ")
    assert "the app /shop/cart of http://marathon.test:8080" in text
    assert untouched(text)
    assert not untouched(text.replace("instances: 2", "instances: 3"))
    assert not untouched(text + "\n")
    assert not untouched("id: /shop/cart\n")
    assert checked(migrated_app(answered(**ODD)), URL)[1] == text


def test_a_rejected_file_is_what_marathon_said_and_the_reasons() -> None:
    migrated, text = checked(migrated_app(answered(gpus="many", evil="\n: - {")), URL)
    assert parse_yaml(text) == migrated.document
    assert migrated.document["evil"] == "\n: - {"
    comments = [line for line in text.splitlines()[1:] if line.startswith("#")]
    assert comments[0] == "# Why it is not yet a definition; mend it, and rename the file to end with .yaml:"


@pytest.mark.parametrize(
    ("app_id", "name"),
    [("/shop/cart", "shop_cart.yaml"), ("/shop", "shop.yaml"), ("/a.b/c-d", "a.b_c-d.yaml"), ("shop/", "shop.yaml")],
)
def test_files_are_named_by_ids(app_id: str, name: str) -> None:
    assert file_name(migrated_app(answered(id=app_id))) == name


@given(st.lists(st.text(max_size=40) | st.sampled_from(["..", "../x", "/a/b", "a_b", "a/b/", "A" * 300]), unique=True))
def test_no_id_names_a_file_elsewhere_or_that_of_another_app(ids: list[str]) -> None:
    names = {}
    for app_id in ids:
        name = file_name(Migrated(app_id=app_id, document=None))
        assert name.isprintable()
        assert not {"/", "\\", "\0"} & set(name)
        assert not name.startswith(".")
        assert len(name.encode()) < 240
        assert names.setdefault(name, app_id.strip("/")) == app_id.strip("/")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_yaml_is_read_as_it_was_meant(document: Any) -> None:
    assert parse_yaml(write_yaml(document)) == document


@pytest.mark.parametrize(
    "text",
    ["on", "~", "1e5", "0x1F", "012", "22:22", "1_000", "=", "<<", "- a", "a: b", "#", "", " a", "a ", "2001-01-01"],
)
def test_text_stays_text_and_lines_stay_lines(text: str) -> None:
    assert parse_yaml(write_yaml({"env": {text or "A": text}})) == {"env": {text or "A": text}}
    script = f"set -e\n  echo {text}\necho done\n"
    assert parse_yaml(write_yaml([script])) == [script]


@given(st.sampled_from(sorted(ANSWERED)), JSON)
def test_no_answer_makes_a_definition_that_is_invalid_or_another_app(field: str, value: Any) -> None:
    migrated, text = checked(migrated_app(answered(**{field: value})), URL)
    assert untouched(text)
    if not migrated.problems:
        assert decode_yaml(text) == decode_app(migrated.document)
        assert migrated.app_id == decode_app(migrated.document).id
