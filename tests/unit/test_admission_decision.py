"""What admission refuses, in every spelling that Docker takes, and what it lets in."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions import host_path
from coldchain.decisions.admission import FIXED, RULES, Policy, judge, misused, needed, standing
from coldchain.decisions.docker_options import DEFAULT_CAPABILITIES, OPTIONS, RULES_OF_UNLISTED
from coldchain.documents.application import decode_app
from coldchain.model.app import App, Container, Docker, Parameter, Volume
from coldchain.model.task import TaskSpec
from coldchain.model.version import Override
from coldchain.runners.docker.parameters import KNOWN
from coldchain.runners.docker.settings import DockerSettings
from coldchain.runners.docker.specification import container_document
from coldchain.testing.inadmissible import AGAINST, RESTRICTED, container, mount, option, restricted

POLICY = Policy(
    protected=("/srv/coldchain",),
    sockets=("/srv/engine/socket",),
    restricted=(RESTRICTED,),
    restricted_volumes=("/srv/shared",),
)


def rules(document: dict[str, Any]) -> set[str]:
    return {one.rule for one in judge(decode_app(document), POLICY)}


def test_every_rule_has_an_app_against_it() -> None:
    assert AGAINST.keys() == RULES.keys()


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_rule_refuses_with_path_rule_reason_and_what_to_do(rule: str) -> None:
    [one] = judge(decode_app(AGAINST[rule]), POLICY)
    assert one.rule == rule
    assert re.fullmatch(r"(/[a-zA-Z]+(/\d+)?)+", one.path)
    assert re.fullmatch(rf"refused by the rule {rule}: .+\. .+\.", str(one)), str(one)


def test_memory_has_a_limit() -> None:
    assert rules(container() | {"resourceLimits": {"mem": "unlimited", "cpus": "unlimited"}}) == {"limits"}
    assert rules(container() | {"resourceLimits": {"mem": 1e6, "cpus": "unlimited"}}) == set()


@pytest.mark.parametrize(("user", "refused"), [("1000", False), ("0", True), ("shop", True), (None, True)])
def test_the_user_of_a_restricted_container_is_a_number_in_the_field_too(user: str | None, refused: bool) -> None:
    assert ("restricted-user" in rules(restricted(options={"user": None}) | {"user": user})) == refused


def test_everything_is_said_at_once() -> None:
    app = container(privileged=True, parameters=[{"key": "pid", "value": "host"}, {"key": "cap-add", "value": "ALL"}])
    app["container"]["volumes"] = [{"containerPath": "/a", "hostPath": "/"}]
    found = judge(decode_app(app), POLICY)
    assert [(one.rule, one.path) for one in found] == [
        ("privileged", "/container/docker/privileged"),
        ("host-namespace", "/container/docker/parameters/0"),
        ("capabilities", "/container/docker/parameters/1"),
        ("host-path", "/container/volumes/0/hostPath"),
    ]


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("cap-add", "ALL", "capabilities"),
        ("cap-add", "all", "capabilities"),
        ("cap-add", "CAP_SYS_ADMIN", "capabilities"),
        ("cap-add", "cap_sys_ptrace", "capabilities"),
        ("cap-add", "NET_RAW", "capabilities"),
        ("cap-add", " net_admin ", "capabilities"),
        ("cgroup-parent", "/", "limits"),
        ("cgroupns", "host", "host-namespace"),
        ("device", "/dev/kmsg:/dev/kmsg:r", "devices"),
        ("device-cgroup-rule", "a *:* rwm", "devices"),
        ("gpus", "all", "devices"),
        ("ipc", "host", "host-namespace"),
        ("ipc", "container:other", "host-namespace"),
        ("log-driver", "fluentd", "log-driver"),
        ("log-opt", "syslog-address=unix:///run/x", "log-driver"),
        ("memory-swap", "-1", "limits"),
        ("mount", "type=bind,src=/,dst=/host", "volume-option"),
        ("oom-kill-disable", "true", "limits"),
        ("oom-score-adj", "-1000", "limits"),
        ("pid", "container:other", "host-namespace"),
        ("pids-limit", "0", "limits"),
        ("privileged", "false", "privileged"),
        ("security-opt", "apparmor:unconfined", "security-profile"),
        ("security-opt", "label:disable", "security-profile"),
        ("security-opt", "disable", "security-profile"),
        ("security-opt", "no-new-privileges:false", "security-profile"),
        ("security-opt", "no-new-privileges=false", "security-profile"),
        ("security-opt", "seccomp:unconfined", "security-profile"),
        ("security-opt", 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "security-profile"),
        ("security-opt", "systempaths=unconfined", "security-profile"),
        ("sysctl", "net/ipv4/ip_forward=1", "sysctl"),
        ("userns", "host", "host-namespace"),
        ("uts", "host", "host-namespace"),
        ("v", "/:/host", "volume-option"),
        ("volume", "/:/host", "host-path"),
        ("volume", "/srv/../etc:/x", "host-path"),
        ("volume", "//var//run/./docker.sock:/x:ro", "docker-socket"),
        ("volume", "/srv/app:/x:ro,slave", "mount-propagation"),
        ("volume", "/srv/app:/x:o=bind", "volume-option"),
        ("volume", "./relative:/x", "volume-option"),
        ("volume", "../../etc:/x", "volume-option"),
        ("volume-driver", "local", "volume-option"),
        ("volumes-from", "other", "volume-option"),
        ("restart", "always", "docker-option"),
        ("no-such-option", "", "docker-option"),
    ],
)
def test_a_raw_option_is_refused_in_every_spelling(key: str, value: str, rule: str) -> None:
    assert rules(option(key, value)) == {rule}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cap-add", "cap_chown"),
        ("cap-drop", "ALL"),
        ("env", "A=1"),
        ("ipc", "private"),
        ("log-driver", "local"),
        ("log-opt", "max-size=5m"),
        ("memory-swap", "512m"),
        ("oom-score-adj", "500"),
        ("pids-limit", "100"),
        ("read-only", "true"),
        ("runtime", "runsc"),
        ("security-opt", "no-new-privileges:true"),
        ("sysctl", "net.core.somaxconn=1024"),
        ("tmpfs", "/tmp:size=64m"),
        ("volume", "/data"),
        ("volume", "named:/data:ro"),
        ("volume", "/srv/app:/data:ro,Z"),
        ("volume", "/etcetera:/data"),
        ("volume", "/srv/coldchain-2:/data"),
    ],
)
def test_what_every_app_may_have(key: str, value: str) -> None:
    assert rules(option(key, value)) == set()


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/run/docker.sock", "docker-socket"),
        ("/srv/anywhere/docker.sock", "docker-socket"),
        ("/run/containerd/containerd.sock", "docker-socket"),
        ("/srv/engine/socket", "docker-socket"),
        ("/srv/engine", "host-path"),
        ("/srv", "host-path"),
        ("/srv/coldchain/store.sqlite", "host-path"),
        ("/proc/1/root", "host-path"),
        ("/var", "host-path"),
        ("/usr/share/zoneinfo", "host-path"),
    ],
)
def test_a_volume_of_the_machines_own_is_refused(path: str, rule: str) -> None:
    assert rules(mount(path)) == {rule}


@given(st.lists(st.sampled_from(["..", ".", "", "etc", "srv", "etcetera", "run", "var"]), max_size=8))
def test_a_path_is_judged_by_where_it_leads(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    plain = host_path.normal(path)
    assert not {"", ".", ".."} & set(plain.split("/")[1:]) or plain == "/"
    app = App(
        id="/a", container=Container(docker=Docker(image="a"), volumes=(Volume(container_path="/x", host_path=path),))
    )
    assert bool(judge(app, Policy())) == (
        plain == "/" or plain.split("/")[1] in ("etc", "run") or plain == "/var" or plain.startswith("/var/run")
    )


VALUES = """
    host -1 0 10 true false /:/x /srv/a:/x /srv/a:/x:shared unconfined seccomp=unconfined no-new-privileges=false ALL
    NET_RAW /dev/sda container:x a=b x=1:2 net.core.somaxconn=1
"""


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted({*KNOWN, *RULES_OF_UNLISTED})), st.sampled_from(["", *VALUES.split()])),
        max_size=4,
    )
)
def test_what_is_admitted_opens_no_wall_of_the_container(given_options: list[tuple[str, str]]) -> None:
    """Against the document that Docker gets: what the judges thought of the words is not asked."""
    parameters = tuple(Parameter(key=key, value=value) for key, value in given_options)
    app = App(id="/a", container=Container(docker=Docker(image="a", parameters=parameters)))
    if judge(app, Policy()):
        return
    spec = TaskSpec(
        task_id="t", instance_id="i", app_id="/a", version_id="v", target="cluster", agent="a", app=app,
        image=None, address=None, host_ports=(),
    )  # fmt: skip
    try:
        document = container_document(spec, "c", DockerSettings())
    except Exception:
        return  # the runner refuses it too
    config = document["HostConfig"]
    assert not config["Privileged"]
    assert not config.get("Devices")
    assert {name.upper().removeprefix("CAP_") for name in config.get("CapAdd", ())} <= DEFAULT_CAPABILITIES
    assert "NET_RAW" in config["CapDrop"]
    assert "no-new-privileges" in config["SecurityOpt"]
    assert not any("unconfined" in one or "false" in one for one in config["SecurityOpt"])
    assert {config.get(mode, "") for mode in ("PidMode", "UTSMode", "UsernsMode", "CgroupnsMode")} == {""}
    assert config.get("IpcMode", "") in ("", "none", "private", "shareable")
    assert config["PidsLimit"] > 0
    assert config["Memory"] > 0
    assert config["MemorySwap"] > 0
    assert config["RestartPolicy"] == {"Name": "no"}
    for bind in config.get("Binds", ()):
        assert not bind.startswith("/:")
        assert "shared" not in bind


def test_admission_has_an_opinion_on_every_option_of_the_runner() -> None:
    assert OPTIONS.keys() == KNOWN.keys()


def test_an_app_without_anything_unusual_is_admitted() -> None:
    assert rules(container()) == set()
    assert rules({"id": "/app", "cmd": "./serve", "fetch": [{"uri": "https://files.example/a.tar.gz"}]}) == set()


@pytest.mark.parametrize(
    "uri", ["http://169.254.169.254/latest", "http://[fe80::1]/x", "http://metadata.google.internal./x"]
)
def test_what_the_machine_knows_of_itself_is_not_fetched(uri: str) -> None:
    assert rules({"id": "/app", "cmd": "./serve", "fetch": [{"uri": uri}]}) == {"fetch-address"}


@pytest.mark.parametrize(
    ("uri", "fine"),
    [
        ("file:///srv/files/a", True),
        ("file:///srv/files/../../etc/shadow", False),
        ("file:///srv/files/%2e%2e/x", False),
        ("file:///srv/files-2/a", False),
    ],
)
def test_files_are_fetched_from_the_operators_folders_only(uri: str, fine: bool) -> None:
    app = decode_app({"id": "/app", "cmd": "./serve", "fetch": [{"uri": uri, "destFile": "a"}]})
    assert (judge(app, Policy(fetch_folders=("/srv/files",))) == ()) == fine


def test_the_operator_may_allow_tasks_of_root() -> None:
    assert judge(decode_app(AGAINST["root-task"]), Policy(root_tasks=True)) == ()


def test_a_restricted_group_lets_in_what_keeps_the_strict_rules() -> None:
    assert rules(restricted()) == set()
    assert rules(restricted(options={"cap-add": "NET_BIND_SERVICE", "user": "1000:1000"})) == set()
    assert rules(restricted(options={"volume": "/srv/shared/a:/a"})) == set()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"options": {"user": None}}, "restricted-user"),
        ({"options": {"user": "0:1000"}}, "restricted-user"),
        ({"options": {"user": "00"}}, "restricted-user"),
        ({"options": {"user": "app"}}, "restricted-user"),
        ({"options": {"user": "+0"}}, "restricted-user"),
        ({"options": {"cap-drop": "NET_RAW"}}, "restricted-capabilities"),
        ({"options": {"cap-add": "chown"}}, "restricted-capabilities"),
        ({"options": {"read-only": None}}, "restricted-read-only"),
        ({"options": {"volume": "/srv/shared-2:/a"}}, "restricted-volumes"),
        ({"options": {"volume": "/srv/shared/../other:/a"}}, "restricted-volumes"),
    ],
)
def test_a_restricted_group_refuses(changes: dict[str, Any], rule: str) -> None:
    assert rules(restricted(**changes)) == {rule}


def test_a_group_is_not_another_of_the_same_beginning() -> None:
    assert rules(container() | {"id": f"{RESTRICTED}-2/app"}) == set()
    assert judge(decode_app(container()), Policy(restricted=("/",)))


def override(rule: str, because: str = "a good reason") -> Override:
    return Override(rule=rule, because=because, caller="local", at=1.0)


def test_an_override_lets_through_its_rule_alone() -> None:
    refusals = judge(decode_app(container(privileged=True) | {"container": mount("/etc")["container"]}), POLICY)
    assert standing(refusals, [override("host-path")]) == []
    assert standing(refusals, [override("privileged")]) == list(refusals)
    assert needed(refusals, [override("privileged"), override("host-path")]) == (override("host-path"),)


@pytest.mark.parametrize("rule", sorted(FIXED))
def test_what_the_runners_refuse_themselves_is_not_overridden(rule: str) -> None:
    refusals = judge(decode_app(AGAINST[rule]), POLICY)
    assert standing(refusals, [override(rule)]) == list(refusals)
    [problem] = misused([override(rule)], POLICY)
    assert "no override helps" in problem.reason


def test_a_misused_override_is_told() -> None:
    [unknown] = misused([override("privilege")], POLICY)
    assert unknown.suggestion == "privileged"
    [nobody] = misused([override("privileged")], Policy(overrides=False))
    assert "nobody may" in nobody.reason
    [mute] = misused([override("privileged", because=" ")], POLICY)
    assert mute.path == "/because"


def test_the_page_has_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "admission.md").read_text()
    assert {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")} == RULES.keys()
