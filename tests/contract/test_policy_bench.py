"""The bench of policy, small: what it tells the kernel is taken, and a container more is told as one change."""

from msgspec.structs import replace

from coldchain.decisions.policy import ruleset
from coldchain.network.filter.nftables import Nftables
from coldchain.network.filter.render import changes
from coldchain.testing.policy_bench import attachment, measure_policy, policy_bars, scene
from coldchain.testing.sandbox import inside


async def test_a_small_one_is_measured_and_leaves_nothing() -> None:
    assert inside(), "rules are made inside the sandbox only; run this through bin/test"
    samples = await measure_policy(2, apps=12, copies=2, rules=12)
    assert [len(samples.whole), len(samples.one_more)] == [2, 2]
    assert {bar.name for bar in policy_bars(samples)} == {"policy_s", "policy_change_s"}
    assert await Nftables().drops() == {}


def test_a_container_more_is_a_change_of_addresses_alone() -> None:
    seen = scene(12, 2, 12)
    more = replace(seen, attachments=(*seen.attachments, attachment(12, 2, number=0, copy=2)))
    said = changes(ruleset(seen), ruleset(more))
    assert said
    assert {line.split()[0] for line in said.splitlines()} == {"add"}
    addresses = [one.address for one in more.attachments]
    assert len({*addresses}) == len(addresses)
