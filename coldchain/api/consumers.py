"""consumers: `/v1/consumers`: who calls through the gateways, and the keys by which they are known."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, get_args

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, caller_of, optional_body, unknown_members
from coldchain.documents.answers import timestamp
from coldchain.model.consumer import ConsumerKey, KeptConsumer, KeyUse
from coldchain.model.errors import InvalidDocument, NotFound, Problem

KEY_FIELDS = ("use", "expiresAfterSeconds")


async def list_consumers(request: web.Request) -> web.Response:
    """All, with what is known of their keys, never themselves."""
    context = context_of(request)
    now, consumers = context.settings.clock.now(), context.controller.state.consumers
    return answer({"consumers": [_shown(consumers[name], now) for name in sorted(consumers)]})


async def show_consumer(request: web.Request) -> web.Response:
    """One of them."""
    context, name = context_of(request), request.match_info["consumer"]
    found = context.controller.state.consumers.get(name)
    if found is None:
        raise NotFound(f"Consumer '{name}' does not exist", todo="`coldchain consumer list` has all.")
    return answer(_shown(found, context.settings.clock.now()))


async def put_consumer(request: web.Request) -> web.Response:
    """His groups; keys that he has stay."""
    context, given = context_of(request), await optional_body(request)
    groups = given.get("groups", [])
    problems = unknown_members(given, ("groups",))
    if not isinstance(groups, list) or not all(isinstance(one, str) for one in groups):
        problems.append(Problem(path="/groups", reason="must be a list of names"))
    if problems:
        raise InvalidDocument(problems)
    name = request.match_info["consumer"]
    kept, is_new = await context.controller.consumers.put(name, groups, caller_of(request).name)
    return answer(_shown(kept, context.settings.clock.now()), HTTPStatus.CREATED if is_new else HTTPStatus.OK)


async def delete_consumer(request: web.Request) -> web.Response:
    """With all his keys."""
    await context_of(request).controller.consumers.delete(request.match_info["consumer"])
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


async def add_key(request: web.Request) -> web.Response:
    """The answer has the key itself, this once."""
    context, given = context_of(request), await optional_body(request)
    if problems := _problems(given):
        raise InvalidDocument(problems)
    key, text = await context.controller.consumers.add_key(
        request.match_info["consumer"],
        given.get("use", "api"),
        given.get("expiresAfterSeconds"),
        caller_of(request).name,
    )
    return answer(_key(key, context.settings.clock.now()) | {"key": text}, HTTPStatus.CREATED)


async def revoke_key(request: web.Request) -> web.Response:
    """From now on it is nobody's."""
    names = request.match_info
    await context_of(request).controller.consumers.revoke_key(names["consumer"], names["key"])
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


def _problems(given: dict[str, Any]) -> Sequence[Problem]:
    found = unknown_members(given, KEY_FIELDS)
    if given.get("use", "api") not in get_args(KeyUse):
        found.append(Problem(path="/use", reason=f"must be one of {', '.join(get_args(KeyUse))}"))
    life = given.get("expiresAfterSeconds")
    if life is not None and (isinstance(life, bool) or not isinstance(life, int | float)):
        found.append(Problem(path="/expiresAfterSeconds", reason="must be a number"))
    return found


def _shown(one: KeptConsumer, now: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "groups": list(one.groups),
        "keys": [_key(key, now) for key in one.keys],
        "changedAt": timestamp(one.changed_at),
        "cause": one.cause,
    }


def _key(key: ConsumerKey, now: float) -> dict[str, Any]:
    expires = key.expires_at
    return {
        "id": key.id,
        "use": key.use,
        "createdAt": timestamp(key.created_at),
        "expiresAt": timestamp(expires) if expires is not None else None,
        "expired": expires is not None and expires <= now,
        "cause": key.cause,
    }
