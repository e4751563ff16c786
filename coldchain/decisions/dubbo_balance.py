"""dubbo_balance: which provider gets a call, by Dubbo's own rules, so that we share calls as other consumers do.

Draws are numbers from 0 to below 1 that the caller gives; what a rule remembers goes in and comes out.
"""

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from coldchain.model.dubbo import Provider

Balance = Literal["random", "roundrobin", "leastactive", "consistenthash"]
"""Dubbo's own words, as providers and configurators say them in `loadbalance`."""

PLACES = 160
"""Of each provider on the ring of the consistent hash."""


def weight(provider: Provider, method: str, now: float) -> int:
    """Its weight for a method. One that has just started is given less, or its first calls would all be slow."""
    full = provider.weight_of(method)
    if not full or not provider.started_at:
        return full
    up = now - provider.started_at
    if up < 0:
        return 1
    if up >= provider.warmup_seconds:
        return full
    return min(full, max(1, int(up * full / provider.warmup_seconds)))


def at_random(providers: Sequence[Provider], weights: Sequence[int], draw: float) -> Provider:
    """By weight; where nobody has one, all alike."""
    total = sum(weights)
    if not total:
        return providers[int(draw * len(providers))]
    left = draw * total
    for one, share in zip(providers, weights, strict=True):
        left -= share
        if left < 0:
            return one
    return next(one for one, share in zip(reversed(providers), reversed(weights), strict=True) if share)


def in_turn(
    turns: Mapping[str, int], providers: Sequence[Provider], weights: Sequence[int]
) -> tuple[Provider, dict[str, int]]:
    """Smoothly by weight: each gains its weight, who has most is chosen and pays the total. `turns`: what came out last
    time, by address. Who is gone is forgotten, who is new begins with nothing."""
    if not any(weights):
        weights = [1] * len(providers)
    gained = {one.address: turns.get(one.address, 0) + share for one, share in zip(providers, weights, strict=True)}
    able = [one for one, share in zip(providers, weights, strict=True) if share]
    chosen = max(able, key=lambda one: gained[one.address])  # of equals the first
    gained[chosen.address] -= sum(weights)
    return chosen, gained


def least_active(
    active: Mapping[str, int], providers: Sequence[Provider], weights: Sequence[int], draw: float
) -> Provider:
    """Who has the fewest calls in flight (by address); of several, by weight."""
    least = min(active.get(one.address, 0) for one in providers)
    among = [index for index, one in enumerate(providers) if active.get(one.address, 0) == least]
    return at_random([providers[index] for index in among], [weights[index] for index in among], draw)


class Ring:
    """The places of providers for the consistent hash: the same arguments reach the same provider, whoever calls, and
    one that comes or goes moves only what it takes or had."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        places = {place: one for one in providers for place in _places(one.address)}
        self._places = sorted(places)
        self._at = [places[place] for place in self._places]

    def provider(self, key: str) -> Provider:
        """`key`: the arguments that count, as text, one after the other."""
        index = bisect.bisect_left(self._places, _numbers(key)[0])
        return self._at[index % len(self._at)]


def _places(address: str) -> list[int]:
    return [place for turn in range(PLACES // 4) for place in _numbers(f"{address}{turn}")]


def _numbers(text: str) -> list[int]:
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4)]


def choose(
    balance: Balance,
    providers: Sequence[Provider],
    *,
    method: str,
    now: float,
    draw: float,
    turns: Mapping[str, int] = {},
    active: Mapping[str, int] = {},
    key: str = "",
) -> tuple[Provider, Mapping[str, int]]:
    """Who gets a call of a method, and the `turns` for the next one. `providers`: at least one."""
    if balance == "consistenthash":
        return Ring(providers).provider(key), turns
    weights = [weight(one, method, now) for one in providers]
    if balance == "roundrobin":
        return in_turn(turns, providers, weights)
    if balance == "leastactive":
        return least_active(active, providers, weights, draw), turns
    return at_random(providers, weights, draw), turns
