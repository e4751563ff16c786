"""store_move: whether the content of one store may go to another, by what stands in both.

At each moment, whatever was cut short, at most one of the two is of use: a mark stands in the target until everything
is there, and in the source from before the first copy until for ever.
"""

from collections.abc import Sequence
from typing import Literal

from coldchain.model.errors import Conflict
from coldchain.model.store_move import StoreMove

Step = Literal["copy", "done"]


def step(
    source: str, source_mark: StoreMove | None, target: str, target_mark: StoreMove | None, target_keys: Sequence[str]
) -> Step:
    """`target_keys` without that of the mark. Raises Conflict."""
    arriving = StoreMove(direction="from", store=source)
    leaving = StoreMove(direction="to", store=target)
    if source_mark is not None and source_mark.direction == "from":
        raise Conflict(
            f"{source} is not whole: its content comes from {source_mark.store}",
            todo=f"Finish that first: `coldchain store migrate {source_mark.store} {source}`.",
        )
    if source_mark is not None and source_mark != leaving:
        raise Conflict(f"the content of {source} went to {source_mark.store}", todo="Migrate it from there.")
    if target_mark == arriving:
        return "copy"
    if source_mark is not None and target_mark is None and target_keys:
        return "done"
    if target_mark is not None:
        raise Conflict(
            f"{target} is not empty: the content of it and that of {target_mark.store} belong together",
            todo="Name another target, or empty this one.",
        )
    if target_keys:
        raise Conflict(
            f"{target} is not empty: it has {len(target_keys)} keys, such as {target_keys[0]}",
            todo="Name another target, or empty this one.",
        )
    return "copy"


def usable(mark: StoreMove | None) -> None:
    """Raises Conflict where the content of the store is somewhere else."""
    if mark is None:
        return
    if mark.direction == "to":
        raise Conflict(
            f"the content of this store went to {mark.store}",
            todo="Start with that one. If the migration was cut short, do it again: it goes on where it ended.",
        )
    raise Conflict(
        f"this store is not whole: its content comes from {mark.store}",
        todo="Do the migration again: it goes on where it ended.",
    )
