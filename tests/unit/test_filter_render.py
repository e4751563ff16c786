"""Rulesets as text for nft, whole; and the change from one to the next, where only addresses are others."""

from pathlib import Path

from msgspec.structs import replace

from coldchain.model.ruleset import AddressSet, FilterRule, Ruleset
from coldchain.network.filter.render import changes, render

GOLDEN = Path(__file__).parent / "rendered" / "ruleset.nft"
RULESET = Ruleset(
    sets=(
        AddressSet(name="inside_4", family="4", ranges=True, addresses=("10.10.0.1/32", "10.200.0.0/16")),
        AddressSet(name="masqueraded_4", family="4", ranges=True, addresses=("10.200.0.0/16",)),
        AddressSet(name="pools_4", family="4", ranges=True, addresses=("10.200.0.0/16",)),
        AddressSet(name="selected_1_4", family="4", ranges=False, addresses=("10.200.0.1", "10.200.0.2")),
        AddressSet(name="selected_1_6", family="6", ranges=False, addresses=()),
    ),
    rules=(
        FilterRule(
            verdict="allow",
            family="4",
            sources=("@selected_1_4", "10.200.0.0/24"),
            destinations=("@pools_4",),
            protocols=("tcp", "udp"),
            ports=("80", "8000-8100"),
            counter="rule_web",
            log="coldchain web: ",
        ),
        FilterRule(verdict="deny", family="6", sources=("@selected_1_6",), counter="rule_web"),
        FilterRule(verdict="allow", protocols=("icmp", "ipv6-icmp"), counter="rule_ping"),
    ),
    between=(FilterRule(verdict="deny", family="4", destinations=("@pools_4",), counter="default_outside"),),
    to_machine=(
        FilterRule(verdict="allow", family="4", protocols=("icmp",)),
        FilterRule(
            verdict="allow", family="4", sources=("@pools_4",), protocols=("tcp",), ports=("53",), from_container=True
        ),
    ),
    containers=("@pools_4",),
    inside=("@inside_4",),
    masqueraded=("@masqueraded_4",),
)


def test_a_ruleset_as_text() -> None:
    assert render(RULESET) == GOLDEN.read_text()


def with_addresses(*addresses: str) -> Ruleset:
    sets = [replace(one, addresses=addresses) if one.name == "selected_1_4" else one for one in RULESET.sets]
    return replace(RULESET, sets=tuple(sets))


def test_only_addresses_that_are_others_are_told() -> None:
    assert changes(RULESET, RULESET) == ""
    assert changes(RULESET, with_addresses("10.200.0.2", "10.200.0.3", "10.200.0.4")) == (
        "delete element inet coldchain selected_1_4 { 10.200.0.1 }\n"
        "add element inet coldchain selected_1_4 { 10.200.0.3, 10.200.0.4 }\n"
    )


def test_what_is_more_than_addresses_is_told_anew() -> None:
    ranges = [replace(one, addresses=("10.201.0.0/16",)) if one.name == "pools_4" else one for one in RULESET.sets]
    assert changes(RULESET, replace(RULESET, sets=tuple(ranges))) is None
    assert changes(RULESET, replace(RULESET, sets=RULESET.sets[1:])) is None
    assert changes(RULESET, replace(RULESET, rules=RULESET.rules[1:])) is None
    assert changes(RULESET, replace(RULESET, to_machine=())) is None
    assert changes(RULESET, replace(RULESET, masqueraded=(), inside=())) is None


def test_many_addresses_come_in_several_commands() -> None:
    many = with_addresses(*(f"10.200.{number // 250}.{number % 250}" for number in range(2500)))
    text = changes(with_addresses(), many)
    assert text is not None
    assert [line.split("{")[0].strip() for line in text.splitlines()] == ["add element inet coldchain selected_1_4"] * 3
