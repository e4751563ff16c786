"""agent attributes: what an offer says of its agent. Pure."""

from typing import Literal

from coldchain.clients.mesos.events import Attribute, Offer
from coldchain.decisions.constraint import scalar_text

Containerizer = Literal["executor", "docker"]
"""Who runs the tasks of an agent: an executor of ours, or the agent's own Docker containerizer."""
CONTAINERIZER = "coldchain_containerizer"
"""The attribute by which an agent says it of itself."""
AGENT_PORT = 5051
"""Where agents listen that do not say so."""


def agent_url(offer: Offer) -> str:
    """Where the API of the agent is, and its files."""
    if offer.url is None:
        return f"http://{offer.hostname}:{AGENT_PORT}"
    host = offer.url.address.ip or offer.url.address.hostname
    host = f"[{host}]" if ":" in host else host
    return f"{offer.url.scheme}://{host}:{offer.url.address.port}{offer.url.path}"


def attribute_text(one: Attribute) -> str:
    """As constraints compare it."""
    if one.text is not None:
        return scalar_text(one.text.value)
    if one.scalar is not None:
        return scalar_text(f"{one.scalar.value:.3f}")
    if one.ranges is not None:
        return ",".join(f"{each.begin}-{each.end}" for each in one.ranges.range)
    return ",".join(one.set.item) if one.set is not None else ""
