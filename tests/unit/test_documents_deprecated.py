"""Marathon's old forms: each means what its new one does; what contradicts itself is refused; what was read can be sent
back and changes nothing."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from coldchain.decisions.service_port import assigned
from coldchain.documents.answers import EMBEDS, OWN, InstanceView, app_answer
from coldchain.documents.application import decode_app, merge_app
from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.errors import InvalidDocument
from coldchain.model.instance import Instance
from coldchain.model.task import TaskFailure
from coldchain.model.version import Override, Version

IMAGE = {"image": "shop:1"}
PORT = {"containerPort": 80, "name": "http"}
BRIDGE = [{"mode": "container/bridge"}]


def docker(*mappings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"docker": IMAGE | fields, "portMappings": list(mappings)}


def old(**fields: Any) -> dict[str, Any]:
    return {"container": {"docker": IMAGE | fields}}


SAME = [
    ({"cmd": "x", "uris": []}, {"cmd": "x"}),
    ({"cmd": "x", "uris": ["http://h/a.tgz"]}, {"cmd": "x", "fetch": [{"uri": "http://h/a.tgz"}]}),
    (
        {"cmd": "x", "uris": ["http://h/a"], "fetch": [{"uri": "http://h/a", "executable": True}]},
        {"cmd": "x", "fetch": [{"uri": "http://h/a", "executable": True}]},
    ),
    ({"cmd": "x", "ports": [0, 9000]}, {"cmd": "x", "portDefinitions": [{}, {"port": 9000}]}),
    ({"cmd": "x", "ports": []}, {"cmd": "x", "portDefinitions": []}),
    ({"cmd": "x", "ports": None}, {"cmd": "x"}),
    (
        {"cmd": "x", "ports": [9000], "portDefinitions": [{"port": 9000, "name": "a"}]},
        {"cmd": "x", "portDefinitions": [{"port": 9000, "name": "a"}]},
    ),
    ({"cmd": "x", "storeUrls": [], "executor": "//cmd", "residency": None, "dependencies": []}, {"cmd": "x"}),
    ({"cmd": "x", "container": {"type": "MESOS", "volumes": []}}, {"cmd": "x"}),
    (
        old(network="HOST") | {"ports": [9000]},
        old() | {"networks": [{"mode": "host"}], "portDefinitions": [{"port": 9000}]},
    ),
    (
        old(network="BRIDGE", portMappings=[PORT, PORT | {"name": "b", "hostPort": 8080}]),
        {
            "container": docker(PORT | {"hostPort": 0}, PORT | {"name": "b", "hostPort": 8080}),
            "networks": BRIDGE,
        },
    ),
    (old(network="bridge", portMappings=None), {"container": docker(), "networks": BRIDGE}),
    (
        {"container": docker(PORT, network="USER", portMappings=[PORT | {"protocol": "tcp"}])},
        {"container": docker(PORT), "networks": [{}]},
    ),
    (
        {"container": docker(PORT, network="BRIDGE"), "networks": BRIDGE},
        {"container": docker(PORT), "networks": BRIDGE},
    ),
    (
        old(network="USER", portMappings=[PORT]) | {"ipAddress": {"networkName": "shops"}},
        {"container": docker(PORT), "networks": [{"mode": "container", "name": "shops"}]},
    ),
    (old(network="USER"), {"container": docker(), "networks": [{"mode": "container"}]}),
    (
        old() | {"ipAddress": {"networkName": "shops", "groups": [], "labels": {}, "discovery": {"ports": []}}},
        {"container": docker(), "networks": [{"name": "shops"}]},
    ),
    (
        old(network="USER") | {"ipAddress": {"networkName": "shops", "labels": {"zone": "dmz"}}},
        {"container": docker(), "networks": [{"name": "shops", "labels": {"zone": "dmz"}}]},
    ),
    (
        old() | {"ipAddress": {"discovery": {"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]}}},
        {"container": docker(PORT), "networks": [{"mode": "container"}]},
    ),
    ({"container": docker(PORT), "ports": [10001]}, {"container": docker(PORT | {"servicePort": 10001})}),
    (
        {"container": docker(PORT | {"servicePort": 10001}), "ports": [10001], "portDefinitions": [{"port": 10001}]},
        {"container": docker(PORT | {"servicePort": 10001})},
    ),
    ({"container": docker(PORT), "ports": []}, {"container": docker(PORT)}),
    (
        {"container": docker(PORT | {"networkNames": ["n"]}), "networks": [{"name": "n", "labels": {}}]},
        {"container": docker(PORT), "networks": [{"name": "n"}]},
    ),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_an_old_form_means_what_its_new_one_does(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert decode_app({"id": "/shop"} | before) == decode_app({"id": "/shop"} | after)


WRONG = [
    ({"cmd": "x", "uris": ["http://h/b"], "fetch": [{"uri": "http://h/a"}]}, "/uris", "something else than fetch"),
    ({"cmd": "x", "uris": "http://h/b"}, "/uris", "must be an array of addresses"),
    ({"cmd": "x", "uris": ["ftp://h/b"]}, "/uris/0", "begins with http://"),
    ({"container": docker(), "uris": ["http://h/b"]}, "/uris", "is for apps without a container"),
    ({"cmd": "x", "ports": [1], "portDefinitions": [{"port": 2}]}, "/ports", "something else than portDefinitions"),
    ({"cmd": "x", "ports": [70000]}, "/ports/0", "at most 65535"),
    ({"cmd": "x", "ports": ["http"]}, "/ports", "must be an array of whole numbers"),
    ({"container": docker(PORT | {"servicePort": 10001}), "ports": [10002]}, "/ports", "than container.portMappings"),
    ({"container": docker(), "ports": [10002]}, "/ports", "than container.portMappings"),
    (
        {"container": docker(PORT, portMappings=[PORT | {"containerPort": 81}])},
        "/container/docker/portMappings",
        "something else than container.portMappings",
    ),
    (old(portMappings=[{"containerPort": 70000}]), "/container/docker/portMappings/0/containerPort", "at most 65535"),
    (old(portMappings=5), "/container/docker/portMappings", "must be an array"),
    (old(network="NONE"), "/container/docker/network", "must be one of BRIDGE, HOST, USER, not 'NONE'"),
    (old(network="HOST") | {"networks": BRIDGE}, "/container/docker/network", "something else than networks"),
    (old(network="HOST", portMappings=[PORT]), "/container/docker/portMappings", "nothing is mapped"),
    (old() | {"ipAddress": {"networkName": "a"}, "networks": [{"name": "b"}]}, "/ipAddress", "else than networks"),
    (old() | {"ipAddress": {"networkName": "a b"}}, "/ipAddress/networkName", "is no name of a network"),
    (old() | {"ipAddress": {"labels": {"a": 1}}}, "/ipAddress/labels/a", "must be text"),
    (old() | {"ipAddress": {"labels": {"a": "b"}}, "networks": [{}]}, "/ipAddress", "else than networks"),
    (old() | {"ipAddress": {"groups": ["a"]}}, "/ipAddress/groups", "does not have yet"),
    (old() | {"ipAddress": {"netwrk": "a"}}, "/ipAddress/netwrk", "is not a field"),
    (old() | {"ipAddress": 5}, "/ipAddress", "must be an object"),
    ({"cmd": "x", "ipAddress": {}}, "/ipAddress", "needs a container"),
    ({"cmd": "x", "storeUrls": ["http://h/x"]}, "/storeUrls", "is taken away"),
]


@pytest.mark.parametrize(("document", "path", "reason"), WRONG)
def test_what_contradicts_itself_is_refused_at_its_old_place(document: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_app({"id": "/shop"} | document)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert reason in problem.reason


def test_an_old_form_in_a_partial_update_takes_the_place_of_the_new_one() -> None:
    process = decode_app({"id": "/a", "cmd": "x", "fetch": [{"uri": "http://h/1"}], "portDefinitions": [{"name": "b"}]})
    assert merge_app(process, {"uris": ["http://h/2"]}).fetch[0].uri == "http://h/2"
    assert merge_app(process, {"ports": [9000]}).service_ports == (9000,)
    packed = decode_app({"id": "/a", "container": docker(PORT), "networks": [{"name": "n"}]})
    changed = merge_app(packed, old(network="BRIDGE", portMappings=[PORT]))
    assert changed.network.mode == "container/bridge"
    assert merge_app(packed, {"ipAddress": {"networkName": "m"}}).network.name == "m"
    with pytest.raises(InvalidDocument, match="/container/docker/network"):
        merge_app(packed, old(network="BRIDGE") | {"networks": [{"mode": "host"}]})


MARATHON_1_4 = {
    "id": "/shop/cart",
    "cmd": None,
    "args": None,
    "user": None,
    "env": {"MODE": "fresh"},
    "instances": 2,
    "cpus": 0.5,
    "mem": 256,
    "disk": 0,
    "gpus": 0,
    "executor": "",
    "constraints": [["hostname", "UNIQUE"]],
    "uris": [],
    "fetch": [],
    "storeUrls": [],
    "backoffSeconds": 1,
    "backoffFactor": 1.15,
    "maxLaunchDelaySeconds": 3600,
    "container": {
        "type": "DOCKER",
        "volumes": [],
        "docker": {
            "image": "shop/cart:1",
            "network": "BRIDGE",
            "portMappings": [
                {"containerPort": 8080, "hostPort": 0, "servicePort": 10003, "protocol": "tcp", "labels": {}}
            ],
            "privileged": False,
            "parameters": [],
            "forcePullImage": False,
        },
    },
    "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0, "ignoreHttp1xx": False}],
    "readinessChecks": [],
    "dependencies": [],
    "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
    "labels": {"HAPROXY_GROUP": "external"},
    "ipAddress": None,
    "version": "2017-01-01T00:00:00.000Z",
    "residency": None,
    "secrets": {},
    "taskKillGracePeriodSeconds": None,
    "unreachableStrategy": {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600},
    "killSelection": "YOUNGEST_FIRST",
    "ports": [10003],
    "portDefinitions": [{"port": 10003, "protocol": "tcp", "name": "default", "labels": {}}],
    "requirePorts": False,
    "acceptedResourceRoles": None,
    "versionInfo": {"lastScalingAt": "2017-01-01T00:00:00.000Z", "lastConfigChangeAt": "2017-01-01T00:00:00.000Z"},
    "tasksStaged": 0,
    "tasksRunning": 2,
    "tasksHealthy": 2,
    "tasksUnhealthy": 0,
    "deployments": [],
    "tasks": [{"id": "shop_cart.1", "host": "a"}],
    "lastTaskFailure": {"message": "x"},
}
"""What an app looks like that was read from a Marathon of 2017, whole."""


def test_the_answer_of_an_old_marathon_is_a_definition() -> None:
    app = decode_app(MARATHON_1_4)
    assert app.container is not None
    assert (app.network.mode, app.service_ports, app.container.port_mappings[0].host_port) == (
        "container/bridge",
        (10003,),
        0,
    )
    assert decode_app(json.dumps(MARATHON_1_4)) == app
    assert merge_app(app, MARATHON_1_4) == app


def test_null_says_nothing_whatever_it_is_the_value_of() -> None:
    """Clients write all the fields that they know, also those that Marathon had long ago."""
    given = {"taskRateLimit": None, "cpus": None, "container": {"docker": {"image": "x", "old": None}, "appc": None}}
    assert decode_app({"id": "/a"} | given) == decode_app({"id": "/a", "container": {"docker": {"image": "x"}}})


NAME = st.sampled_from(["a", "b-c", "d0"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "instances": st.integers(0, 3),
        "user": st.just("shop"),
        "gpus": st.integers(0, 2),
        "role": NAME,
        "acceptedResourceRoles": st.lists(NAME | st.just("*"), max_size=2),
        "unreachableStrategy": st.sampled_from(
            ["disabled", {}, {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 90.5}]
        ),
        "killSelection": st.sampled_from(["YOUNGEST_FIRST", "OLDEST_FIRST"]),
        "constraints": st.sampled_from([[], [["hostname", "unique"]], [["rack", "LIKE", "r1"]]]),
        "env": st.sampled_from([{}, {"A": "1", "B": {"secret": "s"}}]),
        "secrets": st.just({"s": {"source": "kept"}}),
        "labels": st.dictionaries(NAME, NAME, max_size=2),
        "backoffSeconds": st.integers(0, 9),
        "deadlineSeconds": st.sampled_from([400, 600, 700]),
        "drainSeconds": st.integers(0, 9),
        "rollout": st.sampled_from([{}, {"steps": [{"share": 0.5}]}]),
        "upgradeStrategy": st.sampled_from([{}, {"minimumHealthCapacity": 0.5}]),
    },
)
CONTAINERS = st.fixed_dictionaries(
    {"container": st.sampled_from([docker(), docker(PORT), docker(PORT | {"hostPort": 0}, {"containerPort": 81})])},
    optional={
        "tty": st.booleans(),
        "resourceLimits": st.fixed_dictionaries(
            {}, optional={"cpus": st.just("unlimited") | st.just(64), "mem": st.sampled_from(["unlimited", 999])}
        ),
        "networks": st.sampled_from([[], [{}], [{"name": "n"}], BRIDGE]),
        "healthChecks": st.sampled_from([[], [{"protocol": "COMMAND", "command": {"value": "true"}}]]),
    },
)
PROCESSES = st.fixed_dictionaries(
    {"cmd": st.just("serve")},
    optional={
        "uris": st.sampled_from([[], ["http://h/a.tgz"]]),
        "ports": st.sampled_from([[], [0], [0, 9000]]),
        "requirePorts": st.booleans(),
    },
)
DEFINITIONS = st.builds(lambda left, right: {"id": "/shop"} | left | right, FIELDS, CONTAINERS | PROCESSES).filter(
    lambda one: "secrets" in one or "B" not in one.get("env", {})
)


def read_back(app: App, embed: set[str]) -> dict[str, Any]:
    """The app as GET answers it, with everything that can stand there, over the wire."""
    instance = Instance(
        id="1",
        app_id=app.id,
        version_id="V",
        target="cluster",
        task_id="t",
        phase="serving",
        since=1.0,
        created_at=1.0,
        agent="a",
    )
    override = Override(rule="limits", because="x", caller="local", at=1.0)
    version = Version(app=app, id="W", config_id="V", image="sha256:1", overrides=(override,))
    failure = TaskFailure(
        app_id=app.id,
        target="cluster",
        task_id="t",
        instance_id="1",
        version_id="V",
        agent="a",
        state="failed",
        at=1.0,
    )
    deployment = Deployment(
        id="d",
        app_id=app.id,
        target="cluster",
        kind="scale",
        from_version="V",
        to_version="W",
        started_at=1.0,
        deadline_at=2.0,
        cause="test",
    )
    answer = app_answer(
        version,
        [InstanceView(instance=instance)],
        now=2.0,
        embed=embed,
        deployments=[deployment],
        last_failure=failure,
    )
    found: dict[str, Any] = json.loads(json.dumps(answer))
    return found


@given(DEFINITIONS, st.sets(st.sampled_from([*EMBEDS, OWN])))
@settings(max_examples=300)
def test_what_was_read_can_be_sent_back_and_changes_nothing(definition: dict[str, Any], embed: set[str]) -> None:
    app = assigned(decode_app(definition), None, ())
    answer = read_back(app, embed)
    assert decode_app(answer) == app
    assert merge_app(app, answer) == app
    assert decode_app(answer | {"instances": 7}) == structs.replace(app, instances=7)


@given(DEFINITIONS)
def test_the_same_definition_sent_again_changes_nothing(definition: dict[str, Any]) -> None:
    app = assigned(decode_app(definition), None, (10000, 10002))
    assert assigned(decode_app(definition), app, (10000, 10002)) == app
