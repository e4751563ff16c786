"""For which roles offers are asked for, and how long they are kept."""

import pytest

from coldchain.engines.mesos.idling import Demand, stance
from coldchain.engines.mesos.infos import roles_for
from coldchain.model.app import App

SHOP = frozenset({("agent-1", "shop")})


@pytest.mark.parametrize(
    ("demand", "now", "hold_until", "watch_until", "expected"),
    [
        (Demand(), 9.0, 10.0, 0.0, "hold"),
        (Demand(lacking=True), 9.0, 10.0, 0.0, "hold"),
        (Demand(), 10.0, 10.0, 0.0, "rest"),
        (Demand(), 10.0, 10.0, 11.0, "watch"),
        (Demand(lacking=True), 10.0, 10.0, 0.0, "watch"),
        (Demand(places=SHOP), 10.0, 0.0, 0.0, "hold"),
        (Demand(places=frozenset({("agent-1", "old")}), lacking=True), 9.0, 10.0, 11.0, "rest"),
    ],
)
def test_stances(demand: Demand, now: float, hold_until: float, watch_until: float, expected: str) -> None:
    assert stance("shop", demand, now, hold_until, watch_until) == expected


@pytest.mark.parametrize(
    ("role", "accepted", "roles", "expected"),
    [
        (None, (), ("*",), ("*",)),
        (None, (), ("*", "shop"), ("*",)),
        ("shop", (), ("*", "shop"), ("shop",)),
        ("shop", ("*",), ("*", "shop"), ("shop",)),
        ("shop", ("shop", "old"), ("*", "old", "shop"), ("shop", "old")),
        (None, ("shop",), ("*", "shop"), ("*", "shop")),
        (None, (), ("old", "shop"), ("old", "shop")),
        ("unheard", (), ("old", "shop"), ("old", "shop")),
    ],
)
def test_roles_whose_offers_an_app_takes(
    role: str | None, accepted: tuple[str, ...], roles: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    app = App(id="/shop", cmd="true", role=role, accepted_resource_roles=accepted)
    assert roles_for(app, roles) == expected
