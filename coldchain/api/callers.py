"""callers: `/v1/tokens`: who may ask the API; `/v1/caller`: who is asking."""

from http import HTTPStatus
from typing import Any, get_args

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, caller_of, optional_body, unknown_members
from coldchain.documents.answers import timestamp
from coldchain.model.caller import EVERYTHING, Role, Token
from coldchain.model.errors import InvalidDocument, Problem

FIELDS = ("name", "role", "group", "expiresAfterSeconds")


async def show_caller(request: web.Request) -> web.Response:
    """Who asks, as the API knows him."""
    caller = caller_of(request)
    return answer({"name": caller.name, "role": caller.role, "group": caller.group})


async def list_tokens(request: web.Request) -> web.Response:
    """All on record, also those whose time is over; never what is shown to be recognised."""
    context = context_of(request)
    now, tokens = context.settings.clock.now(), context.controller.state.tokens.values()
    return answer({"tokens": [_shown(one, now) for one in sorted(tokens, key=lambda one: one.name)]})


async def create_token(request: web.Request) -> web.Response:
    """The answer has the token itself, this once."""
    context, given = context_of(request), await optional_body(request)
    if problems := list(_problems(given)):
        raise InvalidDocument(problems)
    token, text = await context.controller.callers.create(
        given["name"],
        given["role"],
        given.get("group", EVERYTHING),
        given.get("expiresAfterSeconds"),
        caller_of(request).name,
    )
    return answer(_shown(token, context.settings.clock.now()) | {"token": text}, HTTPStatus.CREATED)


async def revoke_token(request: web.Request) -> web.Response:
    """From now on it is nobody's, and what it has open ends. 409 for the last one of an admin that is needed."""
    context = context_of(request)
    await context.controller.callers.revoke(request.match_info["name"], keep_admin=context.exposed)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


def _problems(given: dict[str, Any]) -> list[Problem]:
    found = unknown_members(given, FIELDS)
    if not isinstance(given.get("name"), str):
        found.append(Problem(path="/name", reason="must be text"))
    if given.get("role") not in get_args(Role):
        found.append(Problem(path="/role", reason=f"must be one of {', '.join(get_args(Role))}"))
    if not isinstance(given.get("group", EVERYTHING), str):
        found.append(Problem(path="/group", reason="must be text"))
    life = given.get("expiresAfterSeconds")
    if life is not None and (isinstance(life, bool) or not isinstance(life, int | float)):
        found.append(Problem(path="/expiresAfterSeconds", reason="must be a number"))
    return found


def _shown(token: Token, now: float) -> dict[str, Any]:
    expires = token.expires_at
    return {
        "name": token.name,
        "role": token.role,
        "group": token.group,
        "createdAt": timestamp(token.created_at),
        "expiresAt": timestamp(expires) if expires is not None else None,
        "expired": expires is not None and expires <= now,
        "cause": token.cause,
    }
