"""netd policy: how the packet filter stands, in numbers, for netd's own metrics."""

from coldchain.control.netd.policy import PolicyLoop
from coldchain.documents.metrics import Metric
from coldchain.model.errors import ColdchainError


async def policy_metrics(loop: PolicyLoop) -> list[Metric]:
    """Packets are left out while the kernel does not say."""
    status = loop.status
    followed = not (status.trouble or status.filter_trouble)
    found = [
        Metric(
            "coldchain_netd_policy_followed",
            "gauge",
            "1: the packet filter is as the store says; 0: something keeps it from that.",
            {(): float(followed and status.applied and not status.from_journal)},
        ),
        Metric("coldchain_netd_policy_rules", "gauge", "Rules of the policy.", {(): float(status.rules)}),
        Metric(
            "coldchain_netd_connections_cut_total",
            "counter",
            "Connections cut since a change of the policy forbids them.",
            {(): float(status.cut)},
        ),
    ]
    try:
        decided = await loop.decided()
    except ColdchainError:
        return found
    packets: dict[tuple[tuple[str, str], ...], float] = {
        (("counter", name), ("verdict", verdict)): float(number) for name, verdict, number in decided
    }
    told = "First packets of connections, by the rule or the default that decides; anew from 0 when rules change."
    return [*found, Metric("coldchain_netd_policy_packets_total", "counter", told, packets)]
