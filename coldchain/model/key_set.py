"""key_set: the public keys of who issues tokens, as they are kept."""

from coldchain.model.base import Noun
from coldchain.model.gateway_resource import PublicKey


class KeptKeySet(Noun, frozen=True, kw_only=True):
    """The last good set from an address. `changed_at`: since when it is this one, in seconds since the epoch."""

    url: str
    keys: tuple[PublicKey, ...]
    changed_at: float


class KeySetState(Noun, frozen=True, kw_only=True):
    """What became of fetching a set. `tried_at` on the monotonic clock; `fetched_at` in seconds since the epoch, None:
    not since this controller began; `failures` in a row, and the `problem` of the last."""

    tried_at: float
    fetched_at: float | None = None
    failures: int = 0
    problem: str = ""
