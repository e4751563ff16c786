"""share: which part of a limit each live gateway may give out, so that together they give no more than the limit."""

import math
from collections.abc import Mapping

from coldchain.model.limit import LimitUse

MINIMUM = 0.1
"""Of the limit, over all gateways alike, whatever they were asked for: nobody is refused where nobody came before."""
NEWER = 0.5
"""How much the last moment counts against those before it."""
STEPS = 10_000
"""Shares are told in so many parts, so that they are the same number on every way."""
KEPT = 0.01
"""A share that should be another one by less than this stays as it is."""

OTHERS = "*"
"""Stands among shares for every limit that is not named; where it does not either, all of them are the gateway's."""


def share_of(shares: Mapping[str, float], limit: str) -> float:
    """Which part of a limit is a gateway's that was told these shares."""
    return shares.get(limit, shares.get(OTHERS, 1.0))


def least(gateways: int) -> float:
    """What a gateway has in any case."""
    return MINIMUM / gateways if gateways > 1 else 1.0


def wanted(use: LimitUse, before: LimitUse | None, seconds: float) -> float:
    """What part of the limit a gateway was asked for since it last said so; of limits by address or consumer the
    requests in a second, which mean something beside those of other gateways."""
    if before is None or seconds <= 0 or use.asked < before.asked:
        before, seconds = use, 1.0  # it began anew: what it counted has no beginning that we know
    asked = (use.asked - before.asked) / seconds
    if not use.single:
        return asked
    if use.rate:
        return asked / use.most
    return (use.held + use.waiting + max(0.0, (use.refused - before.refused) / seconds)) / use.most


def smoothed(before: float | None, latest: float) -> float:
    """What is wanted, without every moment's chance."""
    return latest if before is None else NEWER * latest + (1 - NEWER) * before


def divide(wishes: Mapping[str, float], single: bool) -> dict[str, float]:
    """Shares by gateway; their sum is at most 1. `wishes`: as `wanted` says.

    Each has the minimum. Beyond that nobody gets more than he asked for while another one has less than he asked for
    and less than he; what nobody asked for is divided evenly.
    """
    count, asked = len(wishes), sum(wishes.values())
    if count <= 1:
        return dict.fromkeys(wishes, 1.0)
    rest = 1.0 - MINIMUM
    if not single and asked > 0:
        return {name: least(count) + rest * wish / asked for name, wish in wishes.items()}
    shares = {}
    left, waiting = rest, count
    for name, wish in sorted(wishes.items(), key=lambda one: (one[1], one[0])):
        shares[name] = min(wish, left / waiting)
        left, waiting = left - shares[name], waiting - 1
    return {name: share + least(count) + left / count for name, share in shares.items()}


def allowed(target: float, current: float | None, others: float, gateways: int) -> float:
    """What a gateway is told, given what the others may be working by: what one of them is to lose can be given only
    when it has said that it works by less. One that joins has the minimum at once, so until the others report, the
    sum may be above 1 by that much."""
    free = 1.0 - others
    if current is not None and current <= free and abs(current - target) < KEPT:
        return current
    floor = least(gateways) if current is None else min(current, least(gateways))
    share = min(1.0, max(floor, min(target, free)))
    return max(1, math.floor(share * STEPS)) / STEPS
