"""Apps of Marathon 1.4 and before, as it answers them: with the old fields, and beside them often the new ones."""

from typing import Any

import pytest

from coldchain.documents.application import decode_yaml
from coldchain.documents.migration import migrated_app
from coldchain.documents.migration_file import checked

ANSWERED: dict[str, Any] = {
    "acceptedResourceRoles": None,
    "args": None,
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "cmd": None,
    "constraints": [],
    "container": None,
    "cpus": 0.1,
    "dependencies": [],
    "disk": 0,
    "env": {},
    "executor": "",
    "fetch": [],
    "gpus": 0,
    "healthChecks": [],
    "instances": 1,
    "ipAddress": None,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {},
    "maxLaunchDelaySeconds": 3600,
    "mem": 64,
    "portDefinitions": [{"port": 10000, "protocol": "tcp", "labels": {}}],
    "ports": [10000],
    "readinessChecks": [],
    "requirePorts": False,
    "residency": None,
    "secrets": {},
    "storeUrls": [],
    "taskKillGracePeriodSeconds": None,
    "unreachableStrategy": None,
    "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
    "uris": [],
    "user": None,
    "version": "2016-08-01T10:00:00.000Z",
}
SAID = {"id": "/old", "instances": 1, "cpus": 0.1, "mem": 64, "maxLaunchDelaySeconds": 3600}


def docker(**fields: Any) -> dict[str, Any]:
    plain = {"image": "old:v1", "forcePullImage": False, "parameters": [], "privileged": False}
    return {"type": "DOCKER", "docker": plain | fields, "volumes": []}


MAPPING = {"containerPort": 80, "hostPort": 0, "servicePort": 10000, "protocol": "tcp", "labels": {}}
DISCOVERY = {"ports": [{"number": 80, "name": "http", "protocol": "tcp", "labels": {}}]}
FETCHED = {"uri": "http://files.test/a.tgz", "extract": True, "executable": False, "cache": False}


@pytest.mark.parametrize(
    ("old", "new", "notes"),
    [
        (
            {"container": docker(network="BRIDGE", portMappings=[MAPPING])},
            {
                "container": {
                    "docker": {"image": "old:v1"},
                    "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10000}],
                },
                "networks": [{"mode": "container/bridge"}],
            },
            [],
        ),
        (
            {"cmd": "./serve", "container": docker(network="HOST", portMappings=[])},
            {
                "cmd": "./serve",
                "container": {"docker": {"image": "old:v1"}},
                "networks": [{"mode": "host"}],
                "portDefinitions": [{"port": 10000}],
            },
            [],
        ),
        (
            {
                "container": docker(network="USER", portMappings=None),
                "ipAddress": {"groups": [], "labels": {}, "networkName": "blue", "discovery": DISCOVERY},
                "ports": [],
                "portDefinitions": [],
            },
            {
                "container": {"docker": {"image": "old:v1"}, "portMappings": [{"containerPort": 80, "name": "http"}]},
                "networks": [{"mode": "container", "name": "blue"}],
            },
            [("advice", "/networks/0/name")],
        ),
        (
            {"cmd": "./serve", "uris": ["http://files.test/a.tgz"], "fetch": [FETCHED]},
            {
                "cmd": "./serve",
                "fetch": [{"uri": "http://files.test/a.tgz"}],
                "portDefinitions": [{"port": 10000}],
            },
            [],
        ),
        (
            {"cmd": "./serve", "uris": ["http://files.test/a.tgz"], "fetch": None, "portDefinitions": None},
            {
                "cmd": "./serve",
                "fetch": [{"uri": "http://files.test/a.tgz"}],
                "portDefinitions": [{"port": 10000}],
            },
            [],
        ),
        (
            {"cmd": "./serve", "requirePorts": True},
            {"cmd": "./serve", "requirePorts": True, "portDefinitions": [{"port": 10000}]},
            [],
        ),
    ],
    ids=["bridge", "host", "network", "process", "only-old", "fixed-ports"],
)
def test_an_old_form_is_said_in_the_new_one(
    old: dict[str, Any], new: dict[str, Any], notes: list[tuple[str, str]]
) -> None:
    migrated, text = checked(migrated_app(ANSWERED | {"id": "/old"} | old), "http://marathon.test:8080")
    assert migrated.problems == ()
    assert migrated.document == SAID | new
    assert [(note.kind, note.path) for note in migrated.notes] == notes
    assert decode_yaml(text).id == "/old"


def test_old_and_new_form_that_contradict_each_other_are_rejected() -> None:
    migrated = migrated_app(ANSWERED | {"id": "/old", "cmd": "./serve", "ports": [10001]})
    assert [note.path for note in migrated.problems] == ["/ports"]
