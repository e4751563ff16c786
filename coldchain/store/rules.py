"""What every store says in the same words."""

from collections.abc import Sequence

from coldchain.ports.store import ABSENT, Change, LostUpdate


def check_distinct(changes: Sequence[Change]) -> None:
    """Raises ValueError if a write names a key twice: which of the two should win nobody could say."""
    keys = [change.key for change in changes]
    if len(set(keys)) != len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"one write names these keys twice: {', '.join(twice)}")


def lost_update(change: Change, found: int) -> LostUpdate:
    """The error of a change whose key has revision `found` instead of the expected one."""
    return LostUpdate(f"{change.key}: expected {_state(change.expected)}, but it is {_state(found)}")


def _state(revision: int | None) -> str:
    return "absent" if revision == ABSENT else f"at revision {revision}"
