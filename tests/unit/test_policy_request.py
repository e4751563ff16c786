"""What the API is sent as policy: everything that is wrong with it, and what is right is read as it is written."""

import pytest

from coldchain.documents.policy_request import (
    Names,
    PolicyQuestion,
    decode_policy,
    decode_question,
    encode_policy,
)
from coldchain.model.errors import InvalidDocument
from coldchain.model.policy import Peers, Policy, Rule

NAMES = Names(networks=["online_net"], machines=["node-1"])
RULES = [
    {
        "name": "web",
        "verdict": "allow",
        "source": {"app": "/shop/*", "labels": {"tier": "front"}},
        "destination": {"network": "online_net", "cidr": "10.200.0.0/16"},
        "protocol": "tcp",
        "ports": ["80", "8000-8100"],
        "log": True,
    },
    {"name": "all", "verdict": "deny", "source": {"machines": True}, "destination": {"machine": "node-1"}},
]


def test_a_policy_is_read_and_written() -> None:
    policy, revision = decode_policy({"rules": RULES, "cut": True, "revision": 3}, NAMES)
    assert revision == 3
    assert policy == Policy(
        rules=(
            Rule(
                name="web",
                source=Peers(app="/shop/*", labels={"tier": "front"}),
                destination=Peers(network="online_net", cidr="10.200.0.0/16"),
                protocol="tcp",
                ports=("80", "8000-8100"),
                log=True,
            ),
            Rule(name="all", verdict="deny", source=Peers(machines=True), destination=Peers(machine="node-1")),
        ),
        cut=True,
    )
    assert encode_policy(policy) == {
        "rules": [
            RULES[0],
            {"name": "all", "verdict": "deny", "source": {"machines": True}, "destination": {"machine": "node-1"}},
        ],
        "cut": True,
    }


def wrong(*rules: dict[str, object]) -> dict[str, str]:
    with pytest.raises(InvalidDocument) as caught:
        decode_policy({"rules": list(rules)}, NAMES)
    return {one.path: one.reason for one in caught.value.problems}


@pytest.mark.parametrize(
    ("rule", "path", "words"),
    [
        ({"name": "Web"}, "/rules/0/name", "small letters"),
        ({"name": "x", "ports": ["0"]}, "/rules/0/ports/0", "must be as 80"),
        ({"name": "x", "ports": ["80", "90-80"]}, "/rules/0/ports/1", "must be as 80"),
        ({"name": "x", "ports": ["65536"]}, "/rules/0/ports/0", "must be as 80"),
        ({"name": "x", "protocol": "icmp", "ports": ["80"]}, "/rules/0/ports", "icmp has no ports"),
        ({"name": "x", "source": {"network": "onlin_net"}}, "/rules/0/source/network", "there is no network"),
        ({"name": "x", "source": {"machine": "node-9"}}, "/rules/0/source/machine", "there is no machine"),
        ({"name": "x", "source": {"app": "shop"}}, "/rules/0/source/app", "begins with `/`"),
        ({"name": "x", "source": {"app": "/a*/b"}}, "/rules/0/source/app", "has no other `*`"),
        ({"name": "x", "destination": {"cidr": "10.0.0.1/8"}}, "/rules/0/destination/cidr", "must be addresses"),
        ({"name": "x", "destination": {"cidr": "10.0.0.1"}}, "/rules/0/destination/cidr", "must be addresses"),
        ({"name": "x", "source": {"machines": True, "app": "/a"}}, "/rules/0/source", "write two rules"),
        (
            {"name": "x", "source": {"cidr": "10.0.0.0/8"}, "destination": {"cidr": "fd00::/8"}},
            "/rules/0/destination/cidr",
            "nothing fits both",
        ),
        ({"name": "x", "souce": {}}, "/rules/0/souce", "is not a field"),
        ({"verdict": "allow"}, "/rules/0/name", "is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(rule: dict[str, object], path: str, words: str) -> None:
    found = wrong(rule)
    assert list(found) == [path]
    assert words in found[path]


def test_all_that_is_wrong_is_said() -> None:
    found = wrong({"name": "a"}, {"name": "a"}, {"name": "b", "source": {"network": "x"}, "ports": ["x"]})
    assert list(found) == ["/rules/1/name", "/rules/2/ports/0", "/rules/2/source/network"]


def test_without_names_nobody_knows_which_there_are() -> None:
    policy, _ = decode_policy({"rules": [{"name": "x", "source": {"network": "other"}}]})
    assert policy.rules[0].source.network == "other"


def test_a_question() -> None:
    asked = {"source": "/shop/web", "destination": "10.0.0.1", "port": 80}
    assert decode_question(asked) == PolicyQuestion(source="/shop/web", destination="10.0.0.1", port=80)
    with pytest.raises(InvalidDocument) as caught:
        decode_question({"source": "", "destination": "x", "protocol": "any"})
    assert [one.path for one in caught.value.problems] == ["/source", "/protocol"]
    with pytest.raises(InvalidDocument):
        decode_question({"source": "x", "destination": "y"})
