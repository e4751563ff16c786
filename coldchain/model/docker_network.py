"""docker network: what Docker has on one machine of the container network, and what netd keeps of it on its disk."""

from coldchain.model.attachment import Attachment
from coldchain.model.base import Noun


class DockerNetwork(Noun, frozen=True, kw_only=True):
    """A network as Docker has it on this machine, by its driver. `network`: the container network that it is; empty for
    one that is not ours. `subnet` and `subnet6` of its address management. `endpoints`: Docker's ids of those in it."""

    id: str
    name: str
    driver: str
    network: str = ""
    subnet: str = ""
    subnet6: str = ""
    endpoints: frozenset[str] = frozenset()


class KeptNetwork(Noun, frozen=True, kw_only=True):
    """A network of ours that Docker has made on this machine. `id`: Docker's; it names the network by it alone."""

    id: str
    network: str
    with_ipv6: bool = False


class KeptAttachment(Noun, frozen=True, kw_only=True):
    """An attachment of this machine. `sandbox`: the network namespace of its container, as Docker names it; empty: its
    container has no link yet, or no more. `mac` is that of the container's end."""

    attachment: Attachment
    docker_network: str
    mac: str
    sandbox: str = ""
