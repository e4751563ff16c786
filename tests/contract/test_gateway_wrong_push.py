"""A push that is wrong in any way is refused whole: the routes of before serve on, and no request stays counted."""

import io
from typing import Any

import aiohttp
import msgspec

from coldchain.testing.gateway_lab import endpoint, running_gateway
from coldchain.testing.raw_application import answers, raw_application

GOOD = {"instanceId": "b", "address": "127.0.0.1", "port": 1, "weight": 1}
RULE = {"path": "/", "service": "shop"}
BASE = {"base": 1, "revision": 2}
WRONG: dict[str, Any] = {
    "no JSON": b"{",
    "no document": b"5",
    "nothing": b"",
    "no base": {"revision": 2},
    "no revision": {"base": 1},
    "a base of text": {"base": "1", "revision": 2},
    "an endpoint without a port": {"services": {"shop": {"endpoints": [GOOD | {"port": None}]}}},
    "an endpoint without an address": {"services": {"shop": {"endpoints": [GOOD | {"address": 5}]}}},
    "an endpoint of negative weight": {"services": {"shop": {"endpoints": [GOOD | {"weight": -1}]}}},
    "an endpoint of nobody": {"services": {"shop": {"endpoints": [GOOD | {"instanceId": None}]}}},
    "one bad endpoint behind a good one": {"services": {"shop": {"endpoints": [GOOD, GOOD | {"port": "x"}]}}},
    "a route without a path": {"routes": {"*": [{"service": "shop"}]}},
    "a route without a service": {"routes": {"*": [{"path": "/"}]}},
    "a good route beside a bad one": {"routes": {"*": [], "a.test": [RULE, {"path": "/"}]}},
}


async def test_every_wrong_push_changes_nothing() -> None:
    async with running_gateway() as lab, raw_application(answers) as app:
        await lab.route(endpoint("a", app.port))
        connector = aiohttp.UnixConnector(str(lab.settings.control_socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            for name, wrong in WRONG.items():
                partial = isinstance(wrong, dict) and not {"base", "revision"} & wrong.keys()
                body = wrong if isinstance(wrong, bytes) else msgspec.json.encode(BASE | wrong if partial else wrong)
                async with session.put("http://gateway/rotation", data=io.BytesIO(body)) as refused:
                    assert refused.status == 400, name
                state = await lab.state()
                assert (state.applied, state.head, state.in_flight) == (1, 1, {}), name
                assert {(await lab.ask("POST", data=b"x")).status for _ in range(3)} == {200}, name
        # It was not in the way of a right one, which all workers take over.
        await lab.change(endpoint("a", app.port, 0), endpoint("b", app.port))
        await lab.in_flight({"a": 0})
        assert {worker.applied for worker in (await lab.state()).workers} == {2}
