"""How the packet filter stands, in netd's metrics."""

import asyncio

from coldchain.control.netd.policy import PolicyLoop
from coldchain.documents import stored
from coldchain.documents.keys import POLICY, network_key_of
from coldchain.documents.metrics import render
from coldchain.main.netd_policy import policy_metrics
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.policy import Peers, Policy, Rule
from coldchain.model.pool import Pool
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_packet_filter import FakePacketFilter
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

RULES = (Rule(name="in", source=Peers(cidr="192.0.2.0/24")), Rule(name="no-dns", verdict="deny", ports=("53",)))
THERE = (Pool(name="online", cidr="10.200.0.0/16"), ContainerNetwork(name="online_net", pool="online"))


def test_packets_are_told_by_who_decides_and_left_out_while_the_kernel_does_not_say() -> None:
    loop = SimulatedLoop(1)

    async def program() -> None:
        clock, store, packet_filter = SimulatedClock(loop), MemoryStore(), FakePacketFilter()
        policy = PolicyLoop(store, packet_filter, "node-1", clock)
        text = render(await policy_metrics(policy))
        assert "coldchain_netd_policy_followed 0.0" in text
        assert "packets_total{" not in text

        await store.write([Change(key=network_key_of(one), value=stored.encode(one)) for one in THERE])
        await store.write([Change(key=POLICY, value=stored.encode(Policy(rules=RULES)))])
        running = asyncio.create_task(policy.run())
        await clock.sleep(1.0)
        packet_filter.counted = {"rule_in": 3, "rule_no-dns": 5, "default_outside": 7, "spoofed": 9}
        lines = render(await policy_metrics(policy)).splitlines()
        assert {
            "coldchain_netd_policy_followed 1.0",
            "coldchain_netd_policy_rules 2.0",
            "coldchain_netd_connections_cut_total 0.0",
            'coldchain_netd_policy_packets_total{counter="rule_in",verdict="allow"} 3.0',
            'coldchain_netd_policy_packets_total{counter="rule_no-dns",verdict="deny"} 5.0',
            'coldchain_netd_policy_packets_total{counter="default_outside",verdict="deny"} 7.0',
            'coldchain_netd_policy_packets_total{counter="spoofed",verdict="deny"} 9.0',
        } <= {*lines}

        packet_filter.away = True
        await clock.sleep(60.0)
        text = render(await policy_metrics(policy))
        assert "coldchain_netd_policy_followed 0.0" in text
        assert "packets_total{" not in text
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    simulate(program(), loop)
