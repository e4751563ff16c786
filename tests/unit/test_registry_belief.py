"""What is believed of a service, through the client and the decision, whatever a registry answers: nobody who lives is
lost by a fault of it, and who was taken away from one that answers is gone at once."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.clients.consul import Answer, ConsulClient, ConsulUnavailable
from coldchain.decisions.registration import Belief, seen
from coldchain.model.registration import Sighting
from coldchain.registry.consul import ConsulRegistry

NAMES = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["register", "deregister"]), NAMES),
        st.tuples(st.sampled_from(["fail", "lose", "go back", "hide", "say again"]), st.just("")),
    ),
    max_size=25,
)


class ScriptOver(Exception):  # noqa: N818
    """There is no step left."""


class Scripted(ConsulClient):
    """A registry that does one step for each question. `alive`: who serves; `has`: whom it has."""

    def __init__(self, steps: list[tuple[str, str]]) -> None:
        super().__init__("http://none")
        self._steps = steps
        self._index = 5
        self.alive: set[str] = set()
        self.has: set[str] = set()
        self.certain = False
        """Whether nothing was wrong since the answer before."""

    async def _ask(self, path: str, query: Mapping[str, str], index: int, wait_seconds: float) -> Answer:
        if not self._steps:
            raise ScriptOver
        verb, name = self._steps.pop(0)
        self.certain = verb in ("register", "deregister", "say again") and index > 0
        shown, told = self.has, self._index
        match verb:
            case "fail":
                raise ConsulUnavailable("500: No cluster leader")
            case "register" | "deregister":
                # Who registers has noticed by then when the registry lost him, and is there again.
                self._change(verb, name)
                shown, told = self.has, self._index
            case "lose":  # it was restarted, and its data is gone
                self.has = shown = set()
                self._index = told = 1
            case "go back":  # a snapshot of it was restored
                self._index = told = max(1, self._index - 3)
            case "hide":  # its token lost its rights
                shown = set()
        return Answer([_entry(one) for one in sorted(shown)], told)

    def _change(self, verb: str, name: str) -> None:
        self._index += 1
        if verb == "register":
            self.alive.add(name)
            self.has.add(name)
        else:
            self.alive.discard(name)
            self.has.discard(name)


def _entry(name: str) -> dict[str, Any]:
    service = {"ID": name, "Service": "web", "Address": "10.0.0.1", "Port": 80, "Meta": {}}
    return {"Node": {"Address": "10.0.0.1"}, "Service": service, "Checks": []}


async def follow(steps: list[tuple[str, str]]) -> None:
    client = Scripted(steps)
    registry = ConsulRegistry(client, "controller")
    belief, known = Belief(), frozenset[str]()

    async def no_sleep(seconds: float) -> None:
        """Nobody waits here."""

    async for sight in client.watch("/v1/health/service/web", sleep=no_sleep):
        endpoints = tuple(registry._endpoint(entry) for entry in sight.document)
        belief = seen(belief, Sighting(endpoints=endpoints, certain=sight.certain))
        believed = frozenset(one.id for one in belief.endpoints)
        # Nobody who lives is lost, though the registry may have lost him or not show him.
        assert known & client.alive <= believed
        assert {one.id for one in endpoints} <= believed
        known = believed
        if client.certain and client.has == client.alive:
            assert {one.id for one in belief.listed} == client.alive


@settings(max_examples=300)
@given(STEPS)
def test_no_fault_of_a_registry_loses_anybody_who_lives(steps: list[tuple[str, str]]) -> None:
    with pytest.raises(ScriptOver):
        asyncio.run(follow(list(steps)))
