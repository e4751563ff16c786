"""Which events a client gets: by type, by what it knows, and by what its caller may see."""

import pytest
from aiohttp.test_utils import make_mocked_request

from coldchain.api.events import _chosen
from coldchain.api.exchange import CALLER
from coldchain.model.caller import LOCAL, Caller
from coldchain.model.event import Event

OWNER = Caller(name="ann", role="owner", group="/shop")


def gets(path: str, caller: Caller, kind: str, *app_ids: str) -> bool:
    request = make_mocked_request("GET", path)
    request[CALLER] = caller
    return _chosen(request)(Event(sequence=1, type=kind, text=b"", app_ids=app_ids))


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("", {"deployment_info", "events_missed"}),
        ("?embed=coldchain", {"deployment_info", "deployment_paused", "events_missed"}),
        ("?event_type=deployment_paused", {"deployment_paused", "events_missed"}),
        ("?event_type=deployment_info&embed=coldchain", {"deployment_info", "events_missed"}),
        ("?event_type=none", {"events_missed"}),
    ],
)
def test_by_type(query: str, kinds: set[str]) -> None:
    there = ("deployment_info", "deployment_paused", "events_missed")
    assert {kind for kind in there if gets("/v2/events" + query, LOCAL, kind)} == kinds


@pytest.mark.parametrize(
    ("app_ids", "seen"),
    [
        (("/shop/cart",), True),
        (("/shop",), True),
        (("/shop-2",), False),
        (("/shop/cart", "/other"), False),
        (("/",), False),
        ((), True),
    ],
)
def test_by_what_the_caller_may_see(app_ids: tuple[str, ...], seen: bool) -> None:
    assert gets("/v2/events", OWNER, "deployment_info", *app_ids) is seen
    assert gets("/v2/events", LOCAL, "deployment_info", *app_ids)
