"""What bin/check-fresh calls a difference: everything new, gone or changed, but for what a set-up may change."""

import msgspec
import pytest

from coldchain.testing.fresh.inventory import AT_SET_UP, Inventory, differences

CLEAN = Inventory(
    processes=frozenset({"1 init"}),
    links=frozenset({"lo"}),
    rules=frozenset(),
    mounts=frozenset({"/", "/proc"}),
    cgroups=frozenset(),
    images_and_containers=frozenset(),
    services=frozenset(),
    left_files=frozenset(),
    checkout=frozenset(),
    packages=frozenset({"bash 5"}),
    configuration={"etc/hosts": "a"},
)
LISTED = [name for name in Inventory.__struct_fields__ if name != "configuration"]


def test_the_same_machine_has_no_differences() -> None:
    assert differences(CLEAN, CLEAN) == []


@pytest.mark.parametrize("field", LISTED)
def test_whatever_is_left_behind_is_named(field: str) -> None:
    after = msgspec.structs.replace(CLEAN, **{field: getattr(CLEAN, field) | {"something"}})
    assert differences(CLEAN, after) == [f"{field}: + something"]
    assert differences(after, CLEAN) == [f"{field}: - something"]


def test_files_below_etc_are_new_gone_or_changed() -> None:
    before = msgspec.structs.replace(CLEAN, configuration={"etc/a": "1", "etc/b": "1"})
    after = msgspec.structs.replace(CLEAN, configuration={"etc/b": "2", "etc/c": "1"})
    assert differences(before, after) == [
        "configuration: + etc/c",
        "configuration: - etc/a",
        "configuration: ~ etc/b",
    ]


def test_a_set_up_may_install_but_start_and_enable_nothing() -> None:
    installed = msgspec.structs.replace(CLEAN, packages=frozenset({"nginx 1"}), configuration={"etc/nginx.conf": "b"})
    assert differences(CLEAN, installed, AT_SET_UP) == []
    enabled = msgspec.structs.replace(installed, services=frozenset({"etc/rc3.d/S01nginx"}))
    assert differences(CLEAN, enabled, AT_SET_UP) == ["services: + etc/rc3.d/S01nginx"]
