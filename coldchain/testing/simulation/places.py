"""places: agents with attributes, and apps with constraints and an order of leaving, in some of the lives of the
simulation, and what must hold of them. Drawn apart from all else, so that a life without them is as it was."""

import random
from collections.abc import Iterable, Sequence

import msgspec

from coldchain.model.app import App
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer
from coldchain.testing.constraints import allows
from coldchain.testing.fake_engine import ONE_AGENT

CONSTRAINED = 0.4
"""The share of lives with several agents and constraints."""
AGENTS = 6
"""As many as an app has instances at most, so that whatever is drawn can be had."""
CHOICES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("hostname", "UNIQUE"),),
    (("hostname", "UNIQUE"), ("rack", "GROUP_BY", "3")),
    (("rack", "GROUP_BY", "3"),),
    (("rack", "GROUP_BY", "2"), ("@zone", "MAX_PER", "6")),
    (("rack", "GROUP_BY"),),
    (("rack", "MAX_PER", "2"),),
    (("rack", "CLUSTER"), ("@hostname", "UNLIKE", "agent-[56]")),
    (("rack", "CLUSTER", "r2"),),
    (("rack", "LIKE", "r[12]"), ("hostname", "MAX_PER", "2")),
    (("@zone", "IS", "z1"),),
    ((),),
)


def constrained(seed: int, apps: Sequence[App]) -> tuple[tuple[App, ...], tuple[Offer, ...]]:
    """The apps, perhaps with constraints, and the agents; () for the one that there is without them."""
    draw = random.Random(f"places {seed}")
    if draw.random() >= CONSTRAINED:
        return tuple(apps), ()
    return tuple(_constrained(draw, app) for app in apps), tuple(agent(number) for number in range(AGENTS))


def _constrained(draw: random.Random, app: App) -> App:
    chosen = tuple(filter(None, draw.choice(CHOICES)))
    return msgspec.structs.replace(
        app, constraints=chosen, kill_selection=draw.choice(("YOUNGEST_FIRST", "OLDEST_FIRST"))
    )


def agent(number: int) -> Offer:
    """One of several agents."""
    name = f"agent-{number + 1}"
    return msgspec.structs.replace(
        ONE_AGENT,
        agent=name,
        hostname=name,
        subnet=f"10.{201 + number}.0.0/16",
        attributes={"rack": f"r{number % 3 + 1}"},
        region="north",
        zone=f"z{number % 2 + 1}",
    )


def misplaced(instance: Instance, app: App, agents: Iterable[Offer], others: Iterable[Instance]) -> str:
    """Which constraint forbids the place that an instance got beside the others, in words."""
    known = {offer.agent: offer for offer in agents}
    beside = sorted(others, key=lambda one: (one.created_at, one.id))
    for field, operator, *value in app.constraints:
        values = [_value(known[one.agent or ""], field) for one in beside]
        offered = _value(known[instance.agent or ""], field)
        if not allows(operator, value[0] if value else None, offered, [one for one in values if one], app.instances):
            return f"{instance.id} on {instance.agent} breaks {field} {operator} {value}: {offered} beside {values}"
    return ""


def _value(offer: Offer, field: str) -> str | None:
    said = {"hostname": offer.hostname, "@hostname": offer.hostname, "@region": offer.region, "@zone": offer.zone}
    return said[field] if field in said else offer.attributes.get(field)
