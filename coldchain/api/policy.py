"""policy: `/v1/policy`: who may talk to whom over the container network, and which rule decides it."""

from typing import Any

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import answer, body_of
from coldchain.control.network_policy import Explained, KeptPolicy
from coldchain.documents.policy_request import decode_question, encode_policy


async def show_policy(request: web.Request) -> web.Response:
    """All rules in their order, and which of them mean no container now."""
    return answer(_shown(await context_of(request).controller.network_policy.get()))


async def put_policy(request: web.Request) -> web.Response:
    """In place of the one before; with its `revision`, as it was answered, only where that is still the one. 422 with
    all that is wrong."""
    return answer(_shown(await context_of(request).controller.network_policy.put(await body_of(request))))


async def test_policy(request: web.Request) -> web.Response:
    """Nothing is sent: it is decided as the machines decide it."""
    question = decode_question(await body_of(request))
    found = await context_of(request).controller.network_policy.ask(question)
    return answer({"decisions": [_decision(one) for one in found]})


def _shown(kept: KeptPolicy) -> dict[str, Any]:
    return encode_policy(kept.policy) | {"revision": kept.revision, "nobody": kept.nobody}


def _decision(one: Explained) -> dict[str, Any]:
    return {
        "source": one.source,
        "destination": one.destination,
        "verdict": one.decision.verdict,
        "rule": one.decision.rule,
        "words": one.decision.words,
    }
