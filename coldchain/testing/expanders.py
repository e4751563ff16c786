"""Expanders: from one sequence of events others that a consumer of them must end in the same state by.

A consumer that goes by what is, and not by how it came about, cannot tell them apart (Felix tests its graph so).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
C = TypeVar("C")


def reverse(states: Sequence[T]) -> list[T]:
    """There, back to the first, and there again."""
    return [*states, *reversed(states[:-1]), *states[1:]]


def double(events: Sequence[T]) -> list[T]:
    """Each twice in a row, as a sender without a reply sends it again."""
    return [event for event in events for _ in range(2)]


def repeat(events: Sequence[T]) -> list[T]:
    """All of them, and all of them again from the first, as after a reconnect."""
    return [*events, *events]


def squash(states: Sequence[T]) -> list[T]:
    """Only the last: whoever was away saw nothing between."""
    return list(states[-1:])


def split(states: Sequence[C], parts: Callable[[C, C], Iterable[C]]) -> list[C]:
    """Between each state and the next those that `parts` names, as where one change comes as several."""
    whole = list(states[:1])
    for before, after in pairwise(states):
        whole += [*parts(before, after), after]
    return whole
