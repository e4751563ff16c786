"""secrets: `/v1/secrets`: what tasks are given at their start and nobody is shown."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import HEADERS, answer, caller_of
from coldchain.documents.answers import timestamp
from coldchain.documents.rules import SECRET_NAME
from coldchain.model.errors import InvalidDocument, MalformedDocument, Problem
from coldchain.model.secret import Secret

VALUE_CHARACTERS_MAX = 65536


async def list_secrets(request: web.Request) -> web.Response:
    """Their names, never their values."""
    context = context_of(request)
    secrets = context.controller.state.secrets
    return answer({"secrets": [_shown(context, secrets[name]) for name in sorted(secrets)]})


async def set_secret(request: web.Request) -> web.Response:
    """The body is the value, as text: no document, so that no error about it can show a part of it."""
    context, name = context_of(request), request.match_info["secret"]
    if not SECRET_NAME.fullmatch(name):
        reason = "must be letters, digits and `_.-`, at most 128, the first a letter or a digit"
        raise InvalidDocument([Problem(path="/name", reason=reason)])
    try:
        value = (await request.read()).decode()
    except UnicodeDecodeError:
        raise MalformedDocument("The value of a secret is text in UTF-8", todo="Encode it, as with base64") from None
    if not value or "\0" in value or len(value) > VALUE_CHARACTERS_MAX:
        reason = f"must have 1 to {VALUE_CHARACTERS_MAX} characters, none of them NUL"
        raise InvalidDocument([Problem(path="/value", reason=reason)])
    known = name in context.controller.state.secrets
    secret = await context.controller.secrets.set(name, value, caller_of(request).name)
    return answer(_shown(context, secret), HTTPStatus.OK if known else HTTPStatus.CREATED)


async def delete_secret(request: web.Request) -> web.Response:
    """409 while an app asks for it."""
    await context_of(request).controller.secrets.delete(request.match_info["secret"])
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


async def rotate_secrets(request: web.Request) -> web.Response:
    """Seal all of them by a fresh key."""
    return answer({"secrets": await context_of(request).controller.secrets.rotate()})


def _shown(context: Context, secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.name,
        "keyId": secret.key_id,
        "changedAt": timestamp(secret.changed_at),
        "cause": secret.cause,
        "usedBy": context.controller.secrets.used_by(secret.name),
    }
