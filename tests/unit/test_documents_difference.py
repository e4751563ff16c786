"""The difference of two documents: none if and only if they are equal, and carried out it makes the new of the old."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.documents.difference import Difference, difference

NAMES = st.sampled_from(["a", "b", "/", "~", "~1", "", "0"])
SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.just(0.5) | st.sampled_from(["", "1", "x"])
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def text(document: Any) -> str:
    return json.dumps(document, sort_keys=True)


def applied(old: Any, differences: tuple[Difference, ...]) -> Any:
    """`old` after the differences, by JSON Patch's rules for these pointers."""
    holder = {"": copy.deepcopy(old)}
    for one in differences:
        place: Any = holder
        *above, last = (part.replace("~1", "/").replace("~0", "~") for part in one.path.split("/"))
        for part in above:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if isinstance(place, list):
            index = int(last)
            if one.kind == "removed":
                assert place.pop() == one.old
            elif one.kind == "added":
                assert index == len(place)
                place.append(one.new)
            else:
                place[index] = one.new
        elif one.kind == "removed":
            assert place.pop(last) == one.old
        else:
            assert (last in place) == (one.kind == "changed")
            place[last] = one.new
    return holder[""]


@given(DOCUMENTS, DOCUMENTS)
def test_none_if_and_only_if_they_are_equal(old: Any, new: Any) -> None:
    assert (difference(old, new) == ()) == (text(old) == text(new))


@given(DOCUMENTS)
def test_a_copy_does_not_differ(document: Any) -> None:
    assert difference(document, copy.deepcopy(document)) == ()


@given(DOCUMENTS, DOCUMENTS)
def test_carried_out_it_makes_the_new_of_the_old(old: Any, new: Any) -> None:
    assert text(applied(old, difference(old, new))) == text(new)


@given(DOCUMENTS, DOCUMENTS)
def test_what_is_added_one_way_is_removed_the_other(old: Any, new: Any) -> None:
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    there = sorted((one.path, turned[one.kind]) for one in difference(old, new))
    assert there == sorted((one.path, one.kind) for one in difference(new, old))


@pytest.mark.parametrize(
    ("old", "new", "path", "kind"),
    [
        ({"env": {"A": "1"}}, {"env": {"A": "2"}}, "/env/A", "changed"),
        ({"env": {}}, {"env": {"A": "2"}}, "/env/A", "added"),
        ({"labels": {"a/b~c": ""}}, {"labels": {}}, "/labels/a~1b~0c", "removed"),
        ({"routes": [{"path": "/"}]}, {"routes": [{"path": "/a"}]}, "/routes/0/path", "changed"),
        ({"on": True}, {"on": 1}, "/on", "changed"),
    ],
)
def test_a_difference_says_where(old: Any, new: Any, path: str, kind: str) -> None:
    [one] = difference(old, new)
    assert (one.path, one.kind) == (path, kind)
