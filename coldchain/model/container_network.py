"""container network: what containers on all machines share, so that each has an address that all others reach."""

from coldchain.model.base import Noun


class ContainerNetwork(Noun, frozen=True, kw_only=True):
    """A network of ours, with the same name on each machine that has Docker. Addresses come from `pool`, and with IPv6
    from `pool6` as well. `isolated`: nobody outside of it is reached or reaches it, but for what policy allows and the
    services of the container's own machine."""

    name: str
    pool: str
    pool6: str = ""
    isolated: bool = False
