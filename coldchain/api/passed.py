"""passed: who asks, where a standby passed a request on to the leader."""

import hmac

import msgspec
from aiohttp import web

from coldchain.api.context import Context
from coldchain.model.caller import Caller
from coldchain.model.errors import Unauthenticated
from coldchain.model.leader import Leader

SECRET, WHO = "Coldchain-Controller-Secret", "Coldchain-Caller"


class Passed(msgspec.Struct, frozen=True):
    """Who asks, as a standby tells the leader. `asked`: whether he had to say who he is."""

    caller: Caller
    asked: bool


def controller_headers(leader: Leader, who: Passed) -> dict[str, str]:
    """By which the leader knows that another controller of the store asks, and for whom."""
    return {SECRET: leader.secret, WHO: msgspec.json.encode(who).decode()}


def passed_caller(request: web.Request, context: Context) -> Passed | None:
    """Whom another controller names; None for who comes himself. Raises Unauthenticated."""
    if SECRET not in request.headers or context.candidate is None:
        return None
    own = context.candidate.me.secret.encode()
    if not hmac.compare_digest(request.headers[SECRET].encode("utf-8", "surrogatepass"), own):
        raise Unauthenticated("This is not the secret of the controllers", todo="Ask again in a moment.")
    try:
        passed = msgspec.json.decode(request.headers.get(WHO, ""), type=Passed)
    except msgspec.MsgspecError as error:
        raise Unauthenticated(f"{WHO} names nobody", todo="Have all controllers be of one version.") from error
    if not passed.asked and context.controller.callers.asked:
        raise Unauthenticated("This API asks who you are", todo="Send a token; `coldchain login` keeps one.")
    return passed
