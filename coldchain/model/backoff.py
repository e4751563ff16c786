"""backoff: how long launches of a failing configuration wait."""

from coldchain.model.base import Noun


class Backoff(Noun, frozen=True, kw_only=True):
    """Failures in a row of one configuration of an app, and until when nothing of it is launched (epoch seconds)."""

    app_id: str
    target: str
    version_id: str
    failures: int = 0
    until: float = 0.0
