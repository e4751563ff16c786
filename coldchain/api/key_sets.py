"""key_sets: `/v1/key-sets`: the public keys by which tokens of consumers are signed, and how fetching them went."""

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import answer
from coldchain.documents.answers import timestamp


async def list_key_sets(request: web.Request) -> web.Response:
    """One for each address that a route names."""
    controller = context_of(request).controller
    kept, states = controller.state.key_sets, controller.key_sets.states
    found = []
    for url in sorted(controller.key_sets.wanted()):
        one, state = kept.get(url), states.get(url)
        fetched_at = state.fetched_at if state is not None else None
        found.append(
            {
                "url": url,
                "keys": [{"id": key.id, "algorithm": key.algorithm} for key in (one.keys if one is not None else ())],
                "changedAt": timestamp(one.changed_at) if one is not None else None,
                "fetchedAt": timestamp(fetched_at) if fetched_at is not None else None,
                "problem": state.problem if state is not None else "",
            }
        )
    return answer({"keySets": found})
