"""exchange: what a controller answers a gateway that reports to it over the API."""

from coldchain.model.base import Noun
from coldchain.model.rotation import RotationUpdate


class Given(Noun, frozen=True, kw_only=True):
    """`lease_seconds`: how long the report counts, from the moment the gateway began to send it. `update`: what is new
    since what it reported; None when nothing is. `shares`: which part of each limit is the gateway's; of others all."""

    lease_seconds: float
    update: RotationUpdate | None = None
    shares: dict[str, float] = {}
