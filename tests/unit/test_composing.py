"""One answer out of several services, in virtual time: order, time-outs, fallbacks, tries, limits, what goes along."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from coldchain.composition.composing import Composed, compose
from coldchain.composition.metrics import Meter
from coldchain.composition.prepared import Callers, Loaded
from coldchain.composition.stepping import Stepping
from coldchain.documents.composition import decode_compositions
from coldchain.documents.metrics import render
from coldchain.model.http_call import HttpAnswer, HttpCall
from coldchain.model.service_call import RaisedByService
from coldchain.testing.fake_http_caller import FakeHttpCaller
from coldchain.testing.fake_service_caller import FakeServiceCaller
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

PASSED = {"x-request-id": "r-1", "x-gray": "gray"}
Reply = Callable[[HttpCall], Awaitable[HttpAnswer]]


def http(service: str, **more: Any) -> dict[str, Any]:
    return {"http": {"service": service, **more}}


def says(value: object, seconds: float = 0.0, status: int = 200) -> Reply:
    async def reply(call: HttpCall) -> HttpAnswer:
        await asyncio.sleep(seconds)
        return HttpAnswer(status=status, body=msgspec.json.encode(value))

    return reply


class World:
    """Services `a`, `b`, `c` by HTTP and `stock` by Dubbo. `answered`: the last composition, and after how long."""

    def __init__(self, steps: dict[str, Any], answer: str = "steps", seed: int = 1, **more: Any) -> None:
        services = {name: {"url": f"http://{name}", "callsMax": 2} for name in "abc"}
        document = {
            "services": {**services, "stock": {"interface": "com.shop.Stock"}},
            "dubbo": {"registry": "zk://zk:2181/dubbo"},
            "limits": {"answerBytesMax": 1000},
            "compositions": [{"path": "/x/{id}", "name": "x", "steps": steps, "answer": answer, **more}],
        }
        self.loop = SimulatedLoop(seed)
        self.clock = SimulatedClock(self.loop)
        self.http = FakeHttpCaller(self.clock)
        self.dubbo = FakeServiceCaller(self.clock)
        self.loaded = Loaded(decode_compositions(document), Callers(self.http, self.dubbo))
        self.meter = Meter()
        self.seconds = 0.0
        self.request: dict[str, Any] = {
            "parameters": {"id": 7, "list": [1, 2]},
            "body": {"k": "v"},
            "headers": {"x-team": "web"},
        }
        for name in "abc":
            self.http.hosts[name] = says({"name": name})

    async def once(self) -> Composed:
        found = self.loaded.table.find("GET", "/x/7")
        assert found is not None
        stepping = Stepping(found.answering, self.loaded, PASSED, self.clock, self.meter)
        began = self.clock.monotonic()
        composed = await compose(found.answering, self.request, stepping, self.clock)
        self.seconds = round(self.clock.monotonic() - began, 3)
        return composed

    def answered(self) -> Composed:
        composed = simulate(self.once(), self.loop)
        assert not +self.loaded.calls_open
        return composed

    def called(self) -> list[str]:
        return [f"{call.method} {call.url}" for call in self.http.calls]


def test_steps_that_need_nothing_of_each_other_go_side_by_side() -> None:
    steps = {
        "one": http("a"),
        "two": http("b"),
        "last": http("c", path="/of/{name}", values={"name": "steps.one.name"}, query={"b": "steps.two.name"}),
    }
    world = World(steps, "{one: steps.one.name, last: steps.last}")
    for name, seconds in (("a", 0.3), ("b", 0.5), ("c", 0.2)):
        world.http.hosts[name] = says({"name": name}, seconds)
    assert world.answered() == Composed(200, {"one": "a", "last": {"name": "c"}})
    assert world.seconds == 0.7
    *first, last = world.called()
    assert (sorted(first), last) == (["GET http://a/", "GET http://b/"], "GET http://c/of/a?b=b")


@pytest.mark.parametrize("seed", range(30))
def test_each_step_is_called_once_after_what_it_needs_in_whatever_order_answers_come(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(8)]
    needs = {name: chance.sample(names[:place], min(place, chance.randrange(3))) for place, name in enumerate(names)}
    steps = {name: http("a", path=f"/{name}") | {"after": needs[name], "timeoutSeconds": 60} for name in names}
    world = World(dict(chance.sample(list(steps.items()), 8)), "keys(steps)", seed, timeoutSeconds=60)
    world.loaded.file.services["a"] = msgspec.structs.replace(world.loaded.file.services["a"], calls_max=8)
    ended: list[str] = []

    async def reply(call: HttpCall) -> HttpAnswer:
        name = call.url.rpartition("/")[2]
        assert set(needs[name]) <= set(ended)
        await asyncio.sleep(chance.random())
        ended.append(name)
        return HttpAnswer(status=200, body=b"1")

    world.http.hosts["a"] = reply
    assert world.answered().status == 200
    assert sorted(ended) == names


def test_text_that_is_no_unicode_is_not_sent() -> None:
    for step in ({"body": "body.x"}, {"path": "/{x}", "values": {"x": "body.x"}}, {"query": {"x": "body.x"}}):
        world = World({"one": http("a", method="POST", **step)})
        world.request["body"] = {"x": "\ud800"}
        assert world.answered().document["reason"] == "unfit"
        assert world.called() == []


def test_what_is_sent() -> None:
    step = http(
        "a",
        method="POST",
        path="/items/{id}/{key}",
        values={"key": "body.k"},
        query={"n": "parameters.list", "none": "body.none"},
        headers={"X-Team": 'headers."x-team"', "X-None": "body.none"},
        body="{all: body}",
    )
    world = World({"one": step})
    world.answered()
    [call] = world.http.calls
    assert (call.method, call.url) == ("POST", "http://a/items/7/v?n=1&n=2")
    assert json.loads(call.body or b"") == {"all": {"k": "v"}}
    assert call.headers == {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "X-Team": "web",
        **PASSED,
    }


def test_an_optional_step_that_fails_has_its_fallback_and_is_named() -> None:
    steps = {
        "one": http("a"),
        "two": http("b") | {"optional": True, "fallback": "[steps.one.name]"},
        "three": http("c") | {"after": ["two"], "optional": True},
    }
    world = World(steps, "{two: steps.two, three: steps.three}")
    world.http.hosts["b"] = says("no", status=500)
    del world.http.hosts["c"]
    composed = world.answered()
    told = [{"step": "two", "reason": "status"}, {"step": "three", "reason": "unavailable"}]
    assert composed == Composed(
        200, {"two": ["a"], "three": None, "missing": told}, {"two": "status", "three": "unavailable"}
    )


def test_an_answer_may_say_itself_what_is_missing() -> None:
    world = World({"one": http("a"), "two": http("b") | {"optional": True}}, "{missing: missing[].step, n: `1`}")
    del world.http.hosts["b"]
    assert world.answered().document == {"missing": ["two"], "n": 1}
    world = World({"one": http("a"), "two": http("b") | {"optional": True}}, "[steps.one.name]")
    del world.http.hosts["b"]
    composed = world.answered()
    assert (composed.document, composed.missing) == (["a"], {"two": "unavailable"})


@pytest.mark.parametrize(
    ("reply", "status", "reason", "words"),
    [
        (says("x", status=500), 502, "status", "a answered 500"),
        (says("x", status=404), 404, "status", "a answered 404"),
        (says("x", status=403), 502, "status", "a answered 403"),
        (says("x", seconds=3.0), 504, "timeout", "no answer in 2 s"),
        (says("x" * 1000), 502, "unfit", "larger than 1000 bytes"),
        (None, 503, "unavailable", "cannot be reached"),
    ],
)
def test_a_required_step_that_fails_says_which_and_why(
    reply: Reply | None, status: int, reason: str, words: str
) -> None:
    world = World({"one": http("a", passStatuses=[404]), "two": http("b")})
    world.http.hosts["b"] = says("late", 1.0)
    if reply is None:
        del world.http.hosts["a"]
    else:
        world.http.hosts["a"] = reply
    composed = world.answered()
    assert (composed.status, composed.failed_step) == (status, "one")
    assert (composed.document["step"], composed.document["reason"]) == ("one", reason)
    assert words in composed.document["message"]
    if not words.startswith("no answer"):
        assert world.seconds < 1.0  # nobody waits for the other


def test_answers_that_are_none() -> None:
    async def no_json(call: HttpCall) -> HttpAnswer:
        return HttpAnswer(status=200, body=b"<html>")

    async def nothing(call: HttpCall) -> HttpAnswer:
        return HttpAnswer(status=204)

    world = World({"one": http("a"), "two": http("b", accept=[204])}, "steps.two")
    world.http.hosts["a"], world.http.hosts["b"] = says(1), nothing
    assert world.answered() == Composed(200, None)
    world.http.hosts["a"] = no_json
    world = World({"one": http("a")})
    world.http.hosts["a"] = no_json
    assert "is no JSON" in world.answered().document["message"]


def test_a_condition_skips_and_what_was_skipped_is_not_missing() -> None:
    steps = {"one": http("a"), "two": http("b") | {"when": "steps.one.sold"}, "three": http("c") | {"after": ["two"]}}
    world = World(steps, "keys(steps)")
    composed = world.answered()
    assert (composed.status, composed.missing) == (200, {})
    assert world.called() == ["GET http://a/", "GET http://c/"]
    world = World(steps)
    world.http.hosts["a"] = says({"sold": 0})
    world.answered()
    assert len(world.called()) == 3
    world = World({"one": http("a"), "two": http("b") | {"when": "length(steps.one.name.x)"}})
    assert world.answered().document["reason"] == "unfit"


def test_the_whole_has_a_time_and_what_is_optional_does_without() -> None:
    steps = {
        "one": http("a"),
        "two": http("b") | {"optional": True, "timeoutSeconds": 60},
        "three": http("c") | {"after": ["two"], "optional": True},
    }
    world = World(steps, "steps.one.name", timeoutSeconds=1.5)
    world.http.hosts["b"] = says("late", 30.0)
    composed = world.answered()
    assert (composed.status, composed.document, world.seconds) == (200, "a", 1.5)
    assert composed.missing == {"two": "timeout", "three": "timeout"}
    world = World({"one": http("a") | {"timeoutSeconds": 60}}, timeoutSeconds=1.5)
    world.http.hosts["a"] = says("late", 30.0)
    assert (world.answered().status, world.seconds) == (504, 1.5)


def test_only_a_step_that_is_idempotent_is_tried_again_and_within_its_time() -> None:
    world = World({"one": http("a")})
    world.http.loses_answers = 1
    assert (world.answered().status, len(world.called())) == (504, 1)

    world = World({"one": http("a") | {"idempotent": True, "retries": 2}}, "steps.one.name")
    world.http.loses_answers = 2
    assert (world.answered().document, len(world.called())) == ("a", 3)

    world = World({"one": http("a") | {"idempotent": True, "retries": 5}})
    world.http.hosts["a"] = says("x", status=409)
    assert (world.answered().status, len(world.called())) == (502, 1)

    world = World({"one": http("a") | {"idempotent": True, "retries": 1, "timeoutSeconds": 1}})
    world.http.hosts["a"] = says("late", 10.0)
    assert (world.answered().status, len(world.called())) == (504, 2)
    assert world.seconds <= 1.0

    step = http("a") | {"idempotent": True, "retries": 1, "timeoutSeconds": 60}
    world = World({"one": step}, timeoutSeconds=1)  # each try has half of what the whole has
    world.http.hosts["a"] = says("late", 10.0)
    assert (world.answered().status, len(world.called())) == (504, 2)


def test_a_value_that_would_lead_elsewhere_is_not_sent() -> None:
    for value in ("'../admin'", "'..'", "`null`", "body"):
        world = World({"one": http("a", path="/items/{name}", values={"name": value})})
        composed = world.answered()
        assert (composed.status, composed.document["reason"]) == (502, "unfit")
        assert world.called() == []


def test_more_calls_of_a_service_than_may_be_open_are_refused() -> None:
    world = World({name: http("a") | {"optional": True} for name in ("one", "two", "three")}, "`{}`")
    world.http.hosts["a"] = says(1, 0.5)
    assert list(world.answered().missing.values()) == ["busy"]
    assert len(world.called()) == 2


def test_an_answer_whose_expression_does_not_fit_is_an_error() -> None:
    world = World({"one": http("a")}, "abs(steps.one.name)")
    composed = world.answered()
    assert (composed.status, composed.document["reason"]) == (502, "unfit")


def dubbo(**more: Any) -> dict[str, Any]:
    parameters = [{"name": "id", "type": "double"}, {"name": "who", "type": "java.lang.String", "optional": True}]
    asked = {"service": "stock", "method": "take", "parameters": parameters, "values": {"id": "parameters.id"}}
    return {"dubbo": asked, **more}


def test_a_step_by_dubbo_has_its_parameters_by_type_and_what_goes_along() -> None:
    async def take(number: float, who: str | None) -> object:
        return {"left": 3, 7: [b"\0"], "of": number}

    world = World({"one": dubbo()}, "steps.one")
    world.dubbo.services["com.shop.Stock", "", ""] = {"take": take}
    assert world.answered().document == {"left": 3, "7": ["AA=="], "of": 7.0}
    [call] = world.dubbo.calls
    assert (call.arguments, call.parameter_types) == ((7.0, None), ("double", "java.lang.String"))
    assert isinstance(call.arguments[0], float)
    assert (call.attachments, call.timeout_seconds) == (PASSED, 2.0)


def test_what_goes_wrong_with_dubbo_is_told_apart() -> None:
    async def take(number: float, who: str | None) -> object:
        raise RaisedByService("com.shop.Stock#take: no more", kind="com.shop.SoldOut", words="no more")

    async def late(number: float, who: str | None) -> object:
        return await asyncio.sleep(1.0)

    world = World({"one": dubbo(idempotent=True, retries=3)})
    assert world.answered().document["reason"] == "unavailable"
    assert len(world.dubbo.calls) == 4
    world = World({"one": dubbo(idempotent=True, retries=3)})
    world.dubbo.services["com.shop.Stock", "", ""] = {"take": take}
    assert world.answered().document["reason"] == "raised"
    assert len(world.dubbo.calls) == 1
    world = World({"one": dubbo(timeoutSeconds=0.5)})
    world.dubbo.services["com.shop.Stock", "", ""] = {"take": late}
    world.dubbo.loses_answers = 1
    assert (world.answered().status, world.meter._steps.total()) == (504, 1)
    values = {"id": "body", "who": "parameters.id"}
    world = World({"one": {"dubbo": dubbo()["dubbo"] | {"values": values}}})
    composed = world.answered()
    assert (composed.status, composed.document["reason"]) == (502, "unfit")
    assert "has to be a number" in composed.document["message"]
    assert world.dubbo.calls == []


def test_steps_are_counted_by_how_they_ended() -> None:
    steps = {"one": http("a"), "two": http("b") | {"when": "body.none"}, "three": http("c") | {"optional": True}}
    world = World(steps)
    world.http.hosts["a"] = says(1, 0.2)
    del world.http.hosts["c"]
    world.answered()
    text = render(world.meter.collect(0, 1, world.loaded.calls_open))
    for line in (
        'coldchain_composition_steps_total{composition="x",step="one",outcome="answered"} 1',
        'coldchain_composition_steps_total{composition="x",step="two",outcome="skipped"} 1',
        'coldchain_composition_steps_total{composition="x",step="three",outcome="unavailable"} 1',
        'coldchain_composition_step_seconds_bucket{composition="x",step="one",le="0.1"} 0',
        'coldchain_composition_step_seconds_bucket{composition="x",step="one",le="0.25"} 1',
        'coldchain_composition_step_seconds_bucket{composition="x",step="one",le="+Inf"} 1',
        'coldchain_composition_step_seconds_count{composition="x",step="one"} 1',
    ):
        assert line in text.splitlines()


def test_what_is_open_when_the_whole_ends_is_counted_as_given_up() -> None:
    world = World({"one": http("a"), "two": http("b")})
    del world.http.hosts["a"]
    world.http.hosts["b"] = says(1, 1.0)
    world.answered()
    assert world.meter._steps[("composition", "x"), ("step", "two"), ("outcome", "given up")] == 1
