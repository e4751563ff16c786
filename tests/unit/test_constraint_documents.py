"""Constraints and killSelection as their writers send them: what is taken, and what is said about each mistake."""

from typing import Any

import pytest

from coldchain.documents.application import decode_app, encode_app
from coldchain.model.app import App, same_configuration
from coldchain.model.errors import InvalidDocument


def definition(**fields: Any) -> dict[str, Any]:
    return {"id": "/shop", "cmd": "run", **fields}


def test_all_operators_are_taken_in_any_case_and_written_back_as_marathon_does() -> None:
    given = [
        ["hostname", "unique"],
        ["@zone", "Group_By", "3"],
        ["rack", "GROUP_BY"],
        ["rack", "CLUSTER", ""],
        ["rack", "CLUSTER", "r1"],
        ["rack", "LIKE", "r[1-3]|s.*"],
        ["rack", "UNLIKE", "r9"],
        ["@region", "MAX_PER", "2"],
        ["level", "IS", "0.80"],
    ]
    app = decode_app(definition(constraints=given, killSelection="OLDEST_FIRST"))
    expected = [
        ["hostname", "UNIQUE"],
        ["@zone", "GROUP_BY", "3"],
        ["rack", "GROUP_BY"],
        ["rack", "CLUSTER"],
        *given[4:],
    ]
    assert encode_app(app)["constraints"] == expected
    assert encode_app(app)["killSelection"] == "OLDEST_FIRST"
    assert decode_app(encode_app(app)) == app
    assert decode_app(definition()).constraints == ()
    assert decode_app(definition()).kill_selection == "YOUNGEST_FIRST"


@pytest.mark.parametrize(
    ("constraint", "path", "reason"),
    [
        (["hostname"], "", "must have 2 to 3 members, not 1"),
        (["hostname", "LIKE", "a", "b"], "", "must have 2 to 3 members, not 4"),
        ("hostname UNIQUE", "", "must be an array"),
        (["hostname", 7], "/1", "must be text, not a number"),
        (["rack", "MAX_PER", 2], "/2", "must be text, not a number (put it in quotes)"),
        (["", "UNIQUE"], "/0", "must name what is compared"),
        (["@rack", "UNIQUE"], "/0", "none of @hostname, @region and @zone"),
        (["rack", "ONLY"], "/1", "'ONLY' is no operator: it must be one of UNIQUE, CLUSTER, GROUP_BY"),
        (["rack", "UNIQUE", "r1"], "/2", "UNIQUE takes no value"),
        (["rack", "LIKE"], "", "LIKE needs a third element: the regular expression"),
        (["rack", "LIKE", ""], "", "LIKE needs a third element"),
        (["rack", "UNLIKE", "r["], "/2", "'r[' is no regular expression: unterminated character set"),
        (["rack", "LIKE", "a{2,1}"], "/2", "is no regular expression"),
        (["rack", "LIKE", "(?u)a"], "/2", "is no regular expression: ASCII and UNICODE flags are incompatible"),
        (["rack", "LIKE", "[[a]"], "/2", "is no regular expression: Possible nested set"),
        (["rack", "MAX_PER"], "", "MAX_PER needs a third element: how many instances"),
        (["rack", "MAX_PER", "two"], "/2", "needs a whole number from 1 on, as text, not 'two'"),
        (["rack", "MAX_PER", "0"], "/2", "needs a whole number from 1 on"),
        (["rack", "GROUP_BY", "1.5"], "/2", "needs a whole number from 1 on"),
        (["rack", "IS"], "", "IS needs a third element"),
        (["rack", "IS", "{a,b}"], "/2", "IS compares with text of letters"),
    ],
)
def test_each_mistake_has_its_path_and_its_reason(constraint: object, path: str, reason: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        decode_app(definition(constraints=[["hostname", "UNIQUE"], constraint]))
    (problem,) = refused.value.problems
    assert problem.path == f"/constraints/1{path}"
    assert reason in problem.reason


def test_a_misspelt_operator_is_told_what_was_meant() -> None:
    with pytest.raises(InvalidDocument) as refused:
        decode_app(definition(constraints=[["hostname", "groupby"]], killSelection="OLDEST"))
    assert {problem.suggestion for problem in refused.value.problems} == {"GROUP_BY", "OLDEST_FIRST"}


@pytest.mark.parametrize("expression", ["(a+)+", "(a|b)*", "(?:a?){30}", "(x(a|b)y)+", "((a*)b)*", ".*a.*b.*c.*d.*e.*"])
def test_an_expression_that_could_stop_the_controller_is_refused(expression: str) -> None:
    with pytest.raises(InvalidDocument, match="may take too long"):
        decode_app(definition(constraints=[["rack", "LIKE", expression]]))


@pytest.mark.parametrize(
    "expression",
    [
        r"rack-[1-3]",
        "(web|db)-[0-9]+",
        "(?:a|b)c?",
        r"[(+*]+x\)*",
        "[]a)]*",
        "a*b*|c*d*|e*f*|g*",
        r"\(+(a\|b)+",
        "(abc)*",
    ],
)
def test_usual_expressions_are_taken(expression: str) -> None:
    assert decode_app(definition(constraints=[["rack", "LIKE", expression]])).constraints[0][2] == expression


def test_constraints_are_part_of_the_configuration_and_the_order_of_leaving_is_not() -> None:
    app = decode_app(definition())
    assert same_configuration(app, decode_app(definition(killSelection="OLDEST_FIRST", instances=7)))
    assert not same_configuration(app, decode_app(definition(constraints=[["hostname", "UNIQUE"]])))


def test_routes_are_part_of_the_configuration_only_as_far_as_tasks_know_of_them() -> None:
    mappings = [{"containerPort": 80}, {"containerPort": 81}]
    container = {"docker": {"image": "shop"}, "portMappings": mappings}

    def app(*routes: dict[str, object], **more: object) -> App:
        return decode_app({"id": "/shop", "container": container, "routes": list(routes)} | more)

    one = app({"domains": ["shop.test"]})
    assert same_configuration(one, app({"domains": ["new.test"], "filters": {"tries": 2}}, {"domains": ["b.test"]}))
    assert not same_configuration(one, app({"domains": ["shop.test"], "portIndex": 1}))
    assert not same_configuration(one, app())  # it would have no service any more
    assert same_configuration(app({"domains": ["shop.test"]}, service="shop"), app(service="shop"))
    assert not same_configuration(one, app({"domains": ["shop.test"]}, service="other"))
