"""traffic: what the gateways of the simulation count: a version may answer with errors though it passes its checks, and
at times all do."""

import random
from collections.abc import Iterable

from coldchain.model.deployment import Deployment
from coldchain.model.rotation import Rotation
from coldchain.model.traffic import Traffic
from coldchain.model.version import Version

FAILING = "failing"
"""The first word of the tag of an image whose tasks answer so."""
REQUESTS = 40
"""To each endpoint, from one look at the counts to the next."""
ERRORS_OF_FAILING = 0.5


def tag(version: Version | None) -> str:
    """The first word of the image's tag."""
    container = version.app.container if version else None
    return container.docker.image.rpartition(":")[2].partition("-")[0] if container else ""


def counted(
    counts: dict[str, Traffic], rotation: Rotation, failing: Iterable[str], errors: float, draw: random.Random
) -> None:
    """Add requests to every endpoint that gets any. `failing`: instances of failing versions; `errors`: the share of
    those that fail anywhere."""
    bad = set(failing)
    for service in rotation.services.values():
        for endpoint in service.endpoints:
            if endpoint.weight:
                name = endpoint.instance_id
                share = max(errors, ERRORS_OF_FAILING if name in bad else 0.0)
                wrong = sum(draw.random() < share for _ in range(REQUESTS)) if share else 0
                known = counts.get(name, Traffic())
                counts[name] = Traffic(requests=known.requests + REQUESTS, errors=known.errors + wrong)


def unjust(ended: Deployment, wanted: Version | None, others: Iterable[Version | None]) -> str:
    """What is wrong with a deployment that was stopped by what the gateways saw, in words; `others`: what the other
    instances on record are of. Where no old instance had requests nobody could know that the fault is common."""
    if not ended.reason.startswith("stopped by what the gateways see") or "no old one to compare" in ended.reason:
        return ""
    former = {tag(version) for version in others}
    if tag(wanted) == FAILING and former != {FAILING}:
        return ""
    return f"{ended.id} from {sorted(former)} to {tag(wanted)} was {ended.reason}"
