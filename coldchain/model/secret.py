"""secret: a value that no document, diff or log shows."""

from collections.abc import Iterable

from coldchain.model.base import Noun

MASK = "•••"
"""What stands where a value is not shown."""


class Secret(Noun, frozen=True, kw_only=True):
    """A secret as it is kept: `sealed` is the value as only the holder of key `key_id` can read it (base64).

    `changed_at` in seconds since the epoch, `cause`: who gave it its present value.
    """

    name: str
    key_id: str
    sealed: str
    changed_at: float
    cause: str


def without_values(text: str, values: Iterable[str]) -> str:
    """The text with a mask for each of the values; the longest first, for one may be a part of another."""
    for value in sorted(filter(None, values), key=len, reverse=True):
        text = text.replace(value, MASK)
    return text
