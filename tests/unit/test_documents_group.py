"""The definition of a group: what it says, and everything that is wrong with it, at its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.group import GroupUpdate
from coldchain.documents.group import decode_apps, decode_group
from coldchain.model.errors import InvalidDocument

IMAGE = {"container": {"docker": {"image": "x"}}}


def app(name: object, **fields: object) -> dict[str, object]:
    return {"id": name, **IMAGE, **fields}


def places(document: object, base: str = "/") -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as raised:
        decode_group(document, base)
    return [(one.path, one.reason) for one in raised.value.problems]


def test_ids_are_seen_from_the_group_that_they_are_in() -> None:
    document = {
        "id": "product",
        "dependencies": ["../base", "/other/db"],
        "apps": [app("web", dependencies=["cart", "../base", "/x"])],
        "groups": [{"id": "back", "apps": [app("/product/back/cart", dependencies=["../web"])]}],
    }
    request = decode_group(document)
    assert request.group_id == "/product"
    update = request.update
    assert update is not None
    assert update.dependencies == ("/base", "/other/db")
    [web] = update.apps or ()
    assert (web.id, web.dependencies) == ("/product/web", ("/product/cart", "/base", "/x"))
    [back] = update.groups or ()
    [cart] = back.apps or ()
    assert (back.id, cart.id, cart.dependencies) == ("/product/back", "/product/back/cart", ("/product/web",))
    assert request.places["/product/back/cart"] == ("groups", 0, "apps", 0)


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [("b", "/a", "/a/b"), ("/a", "/a", "/a"), (None, "/a/b", "/a/b"), ("../c", "/a/b", "/a/c"), ("/", "/", "/")],
)
def test_the_id_of_a_group_is_seen_from_the_address(name: str | None, base: str, expected: str) -> None:
    assert decode_group({"id": name}, base).group_id == expected


def test_what_is_not_given_is_not_an_empty_list() -> None:
    assert decode_group({"id": "/g", "apps": None}).update == GroupUpdate(id="/g")
    assert decode_group({"id": "/g", "apps": [], "groups": []}).update == GroupUpdate(id="/g", apps=(), groups=())


def test_a_version_or_a_factor_stand_alone() -> None:
    assert decode_group({"version": "v"}, "/g")[:4] == ("/g", None, "v", None)
    assert decode_group({"id": "g", "scaleBy": 2})[:4] == ("/g", None, None, 2)
    assert [path for path, _ in places({"version": "v", "apps": []})] == ["/apps"]
    assert [path for path, _ in places({"version": "v", "scaleBy": 1})] == ["/scaleBy"]
    for wrong in (-1, True, "2", 1e9, float("nan")):
        assert [path for path, _ in places({"scaleBy": wrong})] == ["/scaleBy"]


def test_every_mistake_has_its_whole_path() -> None:
    document = {
        "id": "/g",
        "aps": [],
        "dependencies": ["UP", 1],
        "apps": [app("a"), app("a"), app("b/c"), 7, app(None)],
        "groups": [
            {
                "id": "h",
                "apps": [app("x"), app("y", cpus=0, upgradeStrategy={"minimumHealthCapacity": 2})],
                "version": "v",
            },
            {"apps": []},
            {"id": "/elsewhere"},
            "text",
            {"id": "a", "groups": {}, "dependencies": "x"},
        ],
    }
    assert sorted(path for path, _ in places(document)) == sorted(
        [
            "/aps",
            "/dependencies/0",
            "/dependencies/1",
            "/apps/1/id",
            "/apps/2/id",
            "/apps/3",
            "/apps/4/id",
            "/groups/0/version",
            "/groups/0/apps/1/cpus",
            "/groups/0/apps/1/upgradeStrategy/minimumHealthCapacity",
            "/groups/1/id",
            "/groups/2/id",
            "/groups/3",
            "/groups/4/id",
            "/groups/4/groups",
            "/groups/4/dependencies",
        ]
    )


def test_what_marathon_has_beside_is_named() -> None:
    assert places({"id": "/g", "pods": [1]}) == [("/pods", "Coldchain has no pods yet")]
    assert decode_group({"id": "/g", "pods": []}).update == GroupUpdate(id="/g"), "as answers have it"


def test_no_more_mistakes_are_told_than_anybody_reads() -> None:
    assert len(places({"id": "/g", "apps": [app("x", cpus=0)] * 300})) == 101


def test_an_array_of_apps_has_each_once() -> None:
    assert list(decode_apps([app("/a"), app("b")])) == ["/a", "/b"]
    with pytest.raises(InvalidDocument) as raised:
        decode_apps([app("a"), app("/a"), {}, 1])
    assert [one.path for one in raised.value.problems] == ["/1/id", "/2/id", "/3"]


GROUPS = st.recursive(
    st.fixed_dictionaries({}, optional={"id": st.sampled_from(["a", "/g", "..", 3]), "apps": st.just([app("x")])}),
    lambda inside: st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b", "/g", "../g"])},
        optional={
            "groups": st.lists(inside, max_size=2),
            "apps": st.lists(st.sampled_from([app("x"), app("y", cpus=-1), app("/z"), {}, None]), max_size=2),
            "dependencies": st.lists(st.sampled_from(["x", "../y", "/z", "../../..", 1]), max_size=2),
            "version": st.text(max_size=3),
            "scaleBy": st.floats() | st.none(),
        },
    ),
    max_leaves=6,
)


@given(GROUPS, st.sampled_from(["/", "/a", "/a/b"]))
def test_any_document_is_read_or_refused_at_places_it_has(document: Any, base: str) -> None:
    try:
        decode_group(document, base)
    except InvalidDocument as error:
        for problem in error.problems:
            here = document
            *above, last = problem.path.split("/")[1:]
            for part in above:
                here = here[int(part)] if isinstance(here, list) else here[part]
            assert problem.reason == "is missing" or problem.path == "" or last in here or int(last) < len(here)
            json.dumps(problem.path)
