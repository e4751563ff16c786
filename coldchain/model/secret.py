"""secret: a value that no document, diff or log shows."""

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
