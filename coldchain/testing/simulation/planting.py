"""planting: how a bug is made on purpose: names of classes and modules stand for something else for a while."""

import contextlib
from collections.abc import Iterator, Sequence

Swaps = Sequence[tuple[object, str, object]]
"""Whose, its name there, and what it stands for meanwhile."""


@contextlib.contextmanager
def swapped(swaps: Swaps) -> Iterator[None]:
    """Until the end of the block."""
    with contextlib.ExitStack() as undo:
        for owner, attribute, replacement in swaps:
            undo.callback(setattr, owner, attribute, vars(owner)[attribute])
            setattr(owner, attribute, replacement)
        yield
