"""dubbo_call: whether a call is tried again, where, and how long a try may take."""

from collections.abc import Sequence

from coldchain.model.base import Noun
from coldchain.model.dubbo import Provider

RETRIES = 2
"""Dubbo's own number, where a provider does not say another."""


class Try(Noun, frozen=True, kw_only=True):
    """One that gave no value. `heard`: the provider may have carried it out."""

    address: str
    heard: bool


def candidates(
    providers: Sequence[Provider], tries: Sequence[Try], *, idempotent: bool, retries: int = RETRIES
) -> Sequence[Provider]:
    """Who may be given the call now; nobody: it is given up.

    What nobody heard harms nobody: such a call goes to each provider once. What may have been carried out is tried
    again only where twice is as good as once, and then so often; elsewhere first.
    """
    heard = sum(one.heard for one in tries)
    if heard and (not idempotent or heard > retries):
        return ()
    tried = {one.address for one in tries}
    fresh = [one for one in providers if one.address not in tried]
    if fresh:
        return fresh
    unheard = {one.address for one in tries if not one.heard}
    return [one for one in providers if one.address not in unheard]


def try_seconds(left_seconds: float, tries: Sequence[Try], *, idempotent: bool, retries: int = RETRIES) -> float:
    """How long the next try may take: where others could follow it leaves time for them."""
    if not idempotent:
        return left_seconds
    more = max(0, retries - sum(one.heard for one in tries))
    return left_seconds / (more + 1)
