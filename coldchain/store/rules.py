"""What every store says in the same words."""

from collections.abc import Iterator, Sequence

from coldchain.ports.store import ABSENT, Change, Guard, LeaseExpired, LostUpdate


def check_distinct(changes: Sequence[Change]) -> None:
    """Raises ValueError if a write names a key twice: which of the two should win nobody could say."""
    keys = [change.key for change in changes]
    if len(set(keys)) != len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"one write names these keys twice: {', '.join(twice)}")


def conditions(changes: Sequence[Change], guards: Sequence[Guard]) -> Iterator[Guard]:
    """Everything that a write takes for granted."""
    yield from guards
    for change in changes:
        if change.expected is not None:
            yield Guard(key=change.key, revision=change.expected)


def lost_update(condition: Guard, found: int) -> LostUpdate:
    """The error of a key that has revision `found` instead of the expected one."""
    return LostUpdate(f"{condition.key}: expected {_state(condition.revision)}, but it is {_state(found)}")


def lease_expired(lease_id: str) -> LeaseExpired:
    return LeaseExpired(f"lease {lease_id} has ended, and its keys with it", todo="ask for a new one")


def _state(revision: int) -> str:
    return "absent" if revision == ABSENT else f"at revision {revision}"
