"""exchange: what all handlers do with a request and an answer."""

import math
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from coldchain.api.context import context_of
from coldchain.decisions.caller import refusal, sees
from coldchain.documents.answers import deployment_result, error_answer
from coldchain.documents.text import SWITCHES, parse_json
from coldchain.model.caller import Caller, Role
from coldchain.model.deployment import Deployment
from coldchain.model.errors import (
    ColdchainError,
    Forbidden,
    InvalidDocument,
    MalformedDocument,
    Problem,
    Unauthenticated,
)
from coldchain.model.group import GroupDeployment
from coldchain.model.version import Override

CALLER = web.RequestKey("caller", Caller)
"""Where a request keeps who asks: a Caller, put there before any handler is asked."""

ASKED = web.RequestKey("asked", bool)
"""Whether the caller was asked who he is; false for who came when nobody was."""

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def answer(document: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A document as JSON."""
    return _json(msgspec.json.encode(document), status, headers)


def answer_all(name: str, documents: Iterable[object]) -> web.Response:
    """A document of one array, `name`, whose members are encoded as they come: with what thousands of apps and tasks
    are made of in memory at once, the process would grow for good."""
    encoder, body = msgspec.json.Encoder(), bytearray(b'{"%s":[' % name.encode())
    before = len(body)
    for document in documents:
        encoder.encode_into(document, body, -1)
        body += b","
    if len(body) > before:
        del body[-1]
    body += b"]}"
    return _json(body)


def _json(body: bytes | bytearray, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers=HEADERS | (headers or {}),
    )


def text(body: str, content_type: str = "text/plain") -> web.Response:
    """Plain text."""
    return web.Response(text=body, content_type=content_type, charset="utf-8", headers=HEADERS)


def change_answer(
    deployment: Deployment | GroupDeployment, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """What a change answers at once: the deployment that carries it out."""
    return answer(deployment_result(deployment), status, {"Marathon-Deployment-Id": deployment.id, **(headers or {})})


def failure(error: ColdchainError) -> web.Response:
    """An error in Marathon's form; with the delay after which trying again makes sense."""
    status, body = error_answer(error)
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_seconds)))} if error.retry_seconds else {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = ", ".join(error.challenges)
    return answer(body, status, headers)


def caller_of(request: web.Request) -> Caller:
    """Who asks."""
    return request[CALLER]


def authorize(request: web.Request, needed: Role, app_ids: Iterable[str]) -> None:
    """For what a body names: raises Forbidden where the caller may not do what needs a role and concerns these apps or
    groups. What an address names was looked at before (`access`)."""
    caller = caller_of(request)
    if why := refusal(caller, needed, app_ids):
        raise Forbidden(f"Not authorized: {why}", todo="Ask an admin for a token that may (`coldchain token`).")


def seen(request: web.Request, app_ids: Iterable[str]) -> list[str]:
    """Those of these apps or groups that the caller may see, in their order."""
    caller = caller_of(request)
    return [one for one in app_ids if sees(caller, [one])]


def app_id_of(request: web.Request) -> str:
    """The id in the path: `/v2/apps//a/b` and `/v2/apps/a/b` are the same app."""
    return "/" + request.match_info["app_id"].strip("/")


def flag(request: web.Request, name: str, default: bool = False) -> bool:
    """A switch of the query. Raises MalformedDocument for what is none."""
    given = request.query.get(name)
    if given is None:
        return default
    if given in SWITCHES:
        return SWITCHES[given]
    raise MalformedDocument(f"{name}={given[:40]} in the query is neither true nor false", todo="Write true or false")


def number(request: web.Request, name: str, most: int) -> int | None:
    """A whole number of the query from 0 to `most`, None where it is not given. Raises MalformedDocument."""
    given = request.query.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) <= most):
        raise MalformedDocument(f"{name}={given[:40]} in the query is no number", todo=f"Write one from 0 to {most}")
    return int(given)


def overrides_of(request: web.Request) -> tuple[Override, ...]:
    """The rules of admission that the caller lets through: `override` in the query, repeated, with one `because`."""
    at, because = context_of(request).settings.clock.now(), request.query.get("because", "").strip()
    rules = request.query.getall("override", [])
    if because and not rules:
        raise MalformedDocument("because without override in the query", todo="Name the rule: override=RULE")
    if rules:
        authorize(request, "admin", ())
    return tuple(Override(rule=rule, because=because, caller=caller_of(request).name, at=at) for rule in rules)


def unknown_members(given: dict[str, Any], known: Iterable[str], suggestion: str | None = None) -> list[Problem]:
    """A problem for each member of a small body that none of the known ones is."""
    unknown = sorted(given.keys() - set(known))
    return [Problem(path=f"/{name}", reason="is not known here", suggestion=suggestion) for name in unknown]


async def body_of(request: web.Request) -> Any:
    """The JSON document sent, whatever content type it was sent with, as Marathon reads it."""
    return parse_json(await request.read())


async def optional_body(request: web.Request) -> dict[str, Any]:
    """The JSON object sent; none is the same as an empty one. Raises MalformedDocument, InvalidDocument."""
    sent = await request.read()
    given = parse_json(sent) if sent.strip() else {}
    if not isinstance(given, dict):
        raise InvalidDocument([Problem(path="", reason="must be an object")])
    return given
