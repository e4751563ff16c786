"""exchange: what a controller answers a gateway that reports to it over the API."""

from coldchain.model.base import Noun
from coldchain.model.rotation import RotationUpdate


class Given(Noun, frozen=True, kw_only=True):
    """`lease_seconds`: how long the report counts, from the moment the gateway began to send it. `update`: what is new
    since what it reported; None when nothing is."""

    lease_seconds: float
    update: RotationUpdate | None = None
