"""gateway: what takes requests from consumers and passes them to instances."""

from coldchain.model.base import Noun


class KnownGateway(Noun, frozen=True, kw_only=True):
    """A gateway that once reported: after a start of the controller it is waited for until a whole lease is over."""

    name: str
    first_seen: float
