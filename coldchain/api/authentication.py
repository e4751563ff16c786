"""authentication: finds out who asks, before anything else is done for him, streams and unknown addresses included."""

import base64
import binascii
import socket

from aiohttp import web
from aiohttp.typedefs import Handler

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import ASKED, CALLER, caller_of
from coldchain.api.passed import passed_caller
from coldchain.control.callers import NAME, PREFIX
from coldchain.model.caller import LOCAL, Caller
from coldchain.model.errors import TooManyAttempts, Unauthenticated

BEARER, BASIC = 'Bearer realm="coldchain"', 'Basic realm="coldchain", charset="UTF-8"'


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Puts the caller into the request. Raises Unauthenticated, TooManyAttempts, Unavailable."""
    context = context_of(request)
    if (passed := passed_caller(request, context)) is not None:
        request[CALLER], request[ASKED] = passed.caller, passed.asked
    elif by_socket(request):
        request[CALLER], request[ASKED] = LOCAL, True
    elif not _asks(context):
        request[CALLER], request[ASKED] = LOCAL, False
    else:
        request[CALLER], request[ASKED] = await _asked(request, context), True
    return await handler(request)


def _asks(context: Context) -> bool:
    """Whether who comes over the network is asked who he is."""
    by_certificate = context.settings.certificate_role is not None
    return context.exposed or by_certificate or context.controller.callers.asked


async def dismissed(request: web.Request) -> None:
    """Returns once who asks may not go on: his token was revoked or its time is over."""
    await context_of(request).controller.callers.ended(caller_of(request), asked=request[ASKED])


def by_socket(request: web.Request) -> bool:
    """Whether it came by the socket in the data folder, which only root can open."""
    connection = request.get_extra_info("socket")
    return connection is not None and connection.family == socket.AF_UNIX


async def _asked(request: web.Request, context: Context) -> Caller:
    given = request.headers.getall("Authorization", [])
    if not given:
        caller = _by_certificate(request, context)
        if caller is None:
            raise _unauthenticated("This API asks who you are")
        return caller
    address, now = request.remote or "", context.settings.clock.monotonic()
    caller = await _recognised(given[0], context, address, now) if len(given) == 1 else None
    if caller is None:
        _hold_up(context, address, now)
        context.attempts.failed(address, now)
        raise _unauthenticated("Nobody is known by what you show")
    return caller


def _unauthenticated(message: str) -> Unauthenticated:
    todo = "Send a token as `Authorization: Bearer …`; `coldchain login` keeps one for the commands."
    return Unauthenticated(message, todo=todo, challenges=(BASIC, BEARER))


def _hold_up(context: Context, address: str, now: float) -> None:
    wait = context.attempts.wait_seconds(address, now)
    if wait > 0:
        raise TooManyAttempts("Too many failures to say who you are", todo="Wait, then try again.", retry_seconds=wait)


async def _recognised(given: str, context: Context, address: str, now: float) -> Caller | None:
    """Tokens come as `Bearer`, as `token=` as Marathon's own client sends them, or as the password beside their name
    for whoever knows nothing but that. Only a guess of the password is slow, and held up before it is tried."""
    callers = context.controller.callers
    scheme, _, value = given.partition(" ")
    if scheme.lower() == "bearer":
        return callers.of_token(value.strip())
    if given.startswith("token="):
        return callers.of_token(given.removeprefix("token=").strip())
    pair = _pair(value) if scheme.lower() == "basic" else None
    if pair is None:
        return None
    name, _, password = pair.partition(b":")
    if password.startswith(f"{PREFIX}_".encode()):
        caller = callers.of_token(password.decode("utf-8", "replace"))
        return caller if caller is not None and caller.name.encode() == name else None
    if callers.credentials is None:
        return None
    known = callers.credentials.known(pair)
    if known is None:
        _hold_up(context, address, now)
        known = await callers.credentials.recognise(pair)
    return known


def _pair(value: str) -> bytes | None:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None


def _by_certificate(request: web.Request, context: Context) -> Caller | None:
    """Who shows a certificate of the authority is the common name in it. The connection checked the rest."""
    role, certificate = context.settings.certificate_role, request.get_extra_info("peercert")
    if role is None or not certificate:
        return None
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    if len(names) != 1 or not NAME.fullmatch(names[0]) or names[0] == LOCAL.name:
        return None
    return Caller(name=names[0], role=role)
