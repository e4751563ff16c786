"""A zero too many is refused with the number that would come of it, whichever way it is asked for; fewer always go."""

from collections.abc import Mapping

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions import instance_limit
from coldchain.decisions.instance_limit import ALL_MAX, beyond
from coldchain.model.app import INSTANCES_MAX, App
from coldchain.testing.served_platform import served_platform

numbers = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, INSTANCES_MAX + 2), max_size=6)


def apps_of(sizes: Mapping[str, int]) -> dict[str, App]:
    return {f"/{name}": App(id=f"/{name}", cmd="x", instances=size) for name, size in sizes.items()}


@given(numbers, numbers)
def test_no_change_leads_beyond_a_limit_or_further_beyond(before: dict[str, int], after: dict[str, int]) -> None:
    refused = beyond(apps_of(after), apps_of(before))
    rising = {f"/{name}" for name, size in after.items() if size > before.get(name, 0)}
    large = {f"/{name}" for name, size in after.items() if size > INSTANCES_MAX}
    together = sum(after.values()) > ALL_MAX
    assert refused.keys() == (rising if together else rising & large)


def test_it_says_what_it_would_come_to() -> None:
    before = apps_of({"a": 10_000, "b": 10_000, "c": 9_999})
    (problem,) = beyond(before | apps_of({"d": 2}), before).values()
    assert (problem.path, problem.reason) == (
        "/instances",
        "all apps together would have 30001 instances; at most 30000 can be",
    )


async def test_every_way_to_more_instances_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_limit, "ALL_MAX", 5)
    image = {"container": {"docker": {"image": "shop:v1"}}}
    async with served_platform() as platform, ClientSession(platform.url) as session:

        async def asked(method: str, path: str, body: object) -> tuple[int, list[str]]:
            async with session.request(method, path, json=body) as answer:
                said = await answer.json()
                return answer.status, [one["path"] for one in said.get("details", [])]

        assert (await asked("POST", "/v2/apps", {"id": "/a/one", "instances": 4, **image}))[0] == 201
        first = platform.controller.state.apps["/a/one"].version_id
        assert await asked("POST", "/v2/apps", {"id": "/a/two", "instances": 2, **image}) == (422, ["/instances"])
        assert await asked("PUT", "/v2/apps/a/one?force=true", {"instances": 6}) == (422, ["/instances"])
        more = {"id": "/a/one", "instances": 6, **image}
        assert await asked("POST", "/v1/apps/a/one/preview", more) == (422, ["/instances"])
        assert await asked("PUT", "/v2/groups/a?force=true", {"scaleBy": 2}) == (422, ["/instances"])
        apps = {"apps": [{"id": "two", "instances": 2, **image}, {"id": "one", "instances": 4, **image}]}
        assert await asked("PUT", "/v2/groups/a?force=true", apps) == (422, ["/apps/0/instances"])
        assert (await asked("PUT", "/v2/apps/a/one?force=true", {"instances": 1}))[0] == 200
        assert (await asked("POST", "/v2/apps", {"id": "/a/two", "instances": 4, **image}))[0] == 201
        back = await asked("PUT", "/v2/apps/a/one?force=true", {"version": first})
        assert back == (422, ["/instances"])
        assert sum(one.instances for one in platform.controller.state.wanted_apps()) == 5
