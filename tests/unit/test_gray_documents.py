"""What a definition may say of a gray rollout, and what it may not."""

from typing import Any

import pytest

from coldchain.documents.application import decode_app, encode_app
from coldchain.documents.gray_request import decode_gray_change
from coldchain.model.errors import InvalidDocument
from coldchain.model.gray import GrayPlan, GrayRule

STEPS = [{"share": 0}, {"share": 0.5, "pauseSeconds": 60}]


def definition(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": "/shop",
        "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 8080}]},
        "routes": [{"domains": ["shop.test"]}],
        "rollout": {"steps": STEPS, "gray": {"rules": list(rules)} if rules else {}},
    }
    return given | fields


def of_others(**gray: Any) -> dict[str, Any]:
    """A service that nobody runs here."""
    routes = [{"domains": ["old.test"]}]
    return {"id": "/legacy", "service": "legacy", "instances": 0, "routes": routes, "rollout": {"gray": gray}}


def test_what_is_given_is_read_and_written_as_it_was() -> None:
    app = decode_app(definition())
    assert app.rollout.gray == GrayPlan(mark="gray", rules=(GrayRule(by="weight"),))
    rules = [
        {"by": "header", "name": "X-Tester", "values": ["a"], "to": "normal"},
        {"by": "users", "who": "address", "values": ["10.0.0.1", "fd00::1"], "strict": True},
        {"by": "weight", "sticky": True},
    ]
    app = decode_app(definition(*rules))
    assert decode_app(encode_app(app)) == app
    app = decode_app(of_others(version="v2", share=0.1))
    assert decode_app(encode_app(app)) == app


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (definition(routes=[]), "/rollout/gray", "needs routes"),
    (definition(rollout={"gray": {}}), "/rollout/gray", "needs steps"),
    (definition(rollout={"steps": [{"instances": 1}], "gray": {}}), "/rollout/steps/0/instances", "not for a gray"),
    (definition(rollout={"steps": [{"share": 0.5}, {"share": 0.5}], "gray": {}}), "/rollout/steps/1/share", "above"),
    (definition(rollout={"steps": [{"share": 0}, {"share": 0}], "gray": {}}), "/rollout/steps/1/share", "above"),
    (definition(rollout={"steps": [{"share": 0}]}), "/rollout/steps/0/share", "must be above 0"),
    (definition(rollout={"steps": STEPS, "gray": {"mark": "a b"}}), "/rollout/gray/mark", "letters"),
    (definition(rollout={"steps": STEPS, "gray": {"mark": "a\n"}}), "/rollout/gray/mark", "letters"),
    (definition(upgradeStrategy={"maximumOverCapacity": 0.5}), "/upgradeStrategy/maximumOverCapacity", "at least 1"),
    (definition(rollbackOnFailure=False), "/rollbackOnFailure", "must be true"),
    (definition({"by": "header"}), "/rollout/gray/rules/0", "the name of a header"),
    (definition({"by": "header", "name": "X_Y"}), "/rollout/gray/rules/0/name", "no name of a header"),
    (definition({"by": "cookie", "name": "a;b"}), "/rollout/gray/rules/0/name", "no name of a cookie"),
    (definition({"by": "cookie", "name": "a", "who": "cookie"}), "/rollout/gray/rules/0/who", "not for cookie"),
    (definition({"by": "users", "values": ["a"]}), "/rollout/gray/rules/0", "needs who"),
    (definition({"by": "users", "who": "consumer"}), "/rollout/gray/rules/0", "needs values"),
    (definition({"by": "users", "who": "address", "values": ["x"]}), "/rollout/gray/rules/0/values/0", "no address"),
    (definition({"by": "hash", "who": "header"}), "/rollout/gray/rules/0", "the name of a header"),
    (definition({"by": "hash", "who": "address", "name": "x"}), "/rollout/gray/rules/0/name", "neither is asked for"),
    (definition({"by": "weight", "values": ["x"]}), "/rollout/gray/rules/0/values", "goes by the share"),
    (definition({"by": "weight"}, {"by": "weight"}), "/rollout/gray/rules/1", "second rule with a share"),
    (definition({"by": "hash", "who": "address", "sticky": True}), "/rollout/gray/rules/0/sticky", "is for weight"),
    (definition({"by": "weight", "to": "normal"}), "/rollout/gray/rules/0/to", "must be gray"),
    (definition({"by": "chance"}), "/rollout/gray/rules/0/by", "must be one of"),
    (definition(rollout={"steps": STEPS, "gray": {"version": "v2"}}), "/rollout/gray/version", "others run"),
    (definition(rollout={"steps": STEPS, "gray": {"share": 0.1}}), "/rollout/gray/share", "others run"),
    (of_others(), "/rollout/gray", "needs the version"),
    (of_others(version="v 2"), "/rollout/gray/version", "letters"),
    (of_others(version="v2", share=1.5), "/rollout/gray/share", "at most 1"),
    (of_others(version="v2") | {"routes": []}, "/rollout/gray", "needs routes"),
    (
        of_others() | {"rollout": {"steps": STEPS, "gray": {"version": "v2"}}},
        "/rollout/steps",
        "others run this service",
    ),
]


@pytest.mark.parametrize(("document", "path", "reason"), WRONG)
def test_what_is_wrong_is_said_once_with_its_place(document: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_app(document)
    (problem,) = caught.value.problems
    assert (problem.path, reason in problem.reason) == (path, True), problem.reason


def test_a_change_names_share_or_rules() -> None:
    assert decode_gray_change({"share": 0}).share == 0
    assert decode_gray_change({"rules": []}).rules == ()
    for document in ({}, {"share": -0.1}, {"shares": 1}, {"rules": [{"by": "users"}]}, []):
        with pytest.raises(InvalidDocument):
            decode_gray_change(document)
