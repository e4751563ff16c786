"""Layers, against a plain reference that writes every dependency out app by app."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.dependency import Cycle, group_ids, layers, parent, unknown

NAMES = ("/a", "/b", "/g/a", "/g/b", "/g/h/a", "/g/h/b", "/i/a", "/i/j/k/a")
GROUPS = ("/g", "/g/h", "/i", "/i/j", "/i/j/k", "/empty")
OTHERS = st.lists(st.sampled_from((*NAMES, *GROUPS, "/nobody")), max_size=3)


def written_out(apps: dict[str, list[str]], groups: dict[str, list[str]]) -> dict[str, set[str]]:
    """For each app all apps that it depends on."""

    def meant(name: str) -> set[str]:
        return {name} if name in apps else {app for app in apps if app.startswith(f"{name}/")}

    found = {app: set[str]() for app in apps}
    for app, others in apps.items():
        for other in others:
            found[app] |= meant(other)
    for group, others in groups.items():
        for app in apps:
            if group == "/" or app.startswith(f"{group}/"):
                for other in others:
                    found[app] |= meant(other)
    return found


def reference(apps: dict[str, list[str]], groups: dict[str, list[str]]) -> list[list[str]] | None:
    """Take away, again and again, all apps that depend on nothing that is left; None where that ends too early."""
    left = written_out(apps, groups)
    found = []
    while left:
        free = sorted(app for app, others in left.items() if not others & left.keys())
        if not free:
            return None
        found.append(free)
        left = {app: others for app, others in left.items() if app not in free}
    return found


@given(st.dictionaries(st.sampled_from(NAMES), OTHERS), st.dictionaries(st.sampled_from(GROUPS), OTHERS))
def test_layers_are_those_of_the_reference(apps: dict[str, list[str]], groups: dict[str, list[str]]) -> None:
    expected = reference(apps, groups)
    if expected is not None:
        assert [list(layer) for layer in layers(apps, groups)] == expected
        return
    with pytest.raises(Cycle) as raised:
        layers(apps, groups)
    whole, circle = written_out(apps, groups), raised.value.apps
    for app, following in zip(circle, (*circle[1:], circle[0]), strict=True):
        assert following in whole[app], "what is named as a circle is one"


def test_a_long_chain_has_as_many_layers() -> None:
    apps = {f"/a{number}": [f"/a{number - 1}"] if number else [] for number in range(5000)}
    assert [layer[0] for layer in layers(apps, {})] == list(apps)


def test_what_nobody_knows_is_named() -> None:
    apps = {"/g/a": ["/g/b", "/g/c", "/g"], "/g/b": []}
    assert unknown(apps, {"/g": ["/h"], "/i/j": ["/i"]}) == [("/g", "/h"), ("/g/a", "/g/c")]


def test_groups_are_all_that_something_is_in() -> None:
    assert group_ids(["/a/b/c", "/d"], ["/e/f"]) == {"/", "/a", "/a/b", "/e", "/e/f"}
    assert [parent(name) for name in ("/a/b", "/a")] == ["/a", "/"]
