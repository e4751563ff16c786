"""The launch queue as Marathon's clients read it: what waits, for what, and what each agent lacked."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from coldchain.decisions.launch_queue import Queued
from coldchain.decisions.placement import Refused, Unused
from coldchain.documents.answers import definition_answer, timestamp, version_answer
from coldchain.model.instance import Instance
from coldchain.model.version import Version

FUNNEL = (
    "UnfulfilledRole",
    "UnfulfilledConstraint",
    "NoCorrespondingReservationFound",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "DeclinedScarceResources",
)
"""Marathon's reasons, in the order in which they sift offers. Reasons that only Coldchain has come after them."""
MARATHONS = {"UnfulfilledTarget": "UnfulfilledRole", "UnfulfilledContainerizer": "UnfulfilledConstraint"}
"""Our names of reasons for which Marathon has another: role and target both say what an app may use, and what a
containerizer cannot do is like a constraint of the app."""


def queue_answer(
    version: Version,
    waits: Queued,
    instances: Iterable[Instance],
    refused: Sequence[Refused],
    *,
    now: float,
    refused_at: float,
    offers: bool,
) -> dict[str, Any]:
    """One app of the queue. `refused`: those of its instances that fit no agent as of `refused_at`, which all agents
    are looked at for together; the first stands for all. `offers`: with some of the agents, and why they do not do."""
    left = waits.delayed_until - now
    last = refused[0] if refused else None
    return {
        "app": definition_answer(version.app) | version_answer(version),
        "count": waits.count,
        "delay": {"timeLeftSeconds": max(0, math.ceil(left)), "overdue": left <= 0},
        "since": timestamp(waits.since),
        "processedOffersSummary": _summary(last, refused_at, _last_used(instances)),
    } | ({"lastUnusedOffers": [_unused(one, refused_at) for one in last.unused] if last else []} if offers else {})


def _last_used(instances: Iterable[Instance]) -> float | None:
    return max((step.at for one in instances for step in one.history if step.phase == "launching"), default=None)


def _summary(last: Refused | None, refused_at: float, used_at: float | None) -> dict[str, Any]:
    count = last.agents if last else 0
    steps = _steps(last)
    times = {"lastUnusedOfferAt": refused_at if last else None, "lastUsedOfferAt": used_at}
    return {
        "processedOffersCount": count,
        "unusedOffersCount": count,
        **{name: timestamp(at) for name, at in times.items() if at is not None},
        "rejectSummaryLastOffers": steps,
        "rejectSummaryLaunchAttempt": steps,
    }


def _steps(last: Refused | None) -> list[dict[str, Any]]:
    """How many offers came to each reason, and how many it held back."""
    declined: dict[str, int] = {}
    for reason, number in last.sifted.items() if last else ():
        name = MARATHONS.get(reason, reason)
        declined[name] = declined.get(name, 0) + number
    left = sum(declined.values())
    steps = []
    for reason in (*FUNNEL, *sorted(declined.keys() - set(FUNNEL))):
        steps.append({"reason": reason, "declined": declined.get(reason, 0), "processed": left})
        left -= declined.get(reason, 0)
    return steps


def _unused(one: Unused, at: float) -> dict[str, Any]:
    scalars = (("cpus", one.cpus), ("mem", one.mem), ("disk", one.disk))
    return {
        "offer": {
            "id": one.agent,
            "agentId": one.agent,
            "hostname": one.agent,
            "resources": [{"name": name, "role": one.role, "scalar": value} for name, value in scalars],
            "attributes": [],
        },
        "reason": [MARATHONS.get(reason, reason) for reason in one.reasons],
        "timestamp": timestamp(at),
    }
