"""guard: turns every error into a document, and turns away requests that a foreign web page made."""

import ipaddress
import uuid
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from coldchain.api.context import context_of
from coldchain.api.exchange import answer, failure
from coldchain.documents.text import DOCUMENT_BYTES_MAX
from coldchain.model.errors import ColdchainError, Forbidden

READING = ("GET", "HEAD", "OPTIONS")

log = structlog.get_logger(__name__)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes a document; of an internal one the caller learns only the id under which it is logged."""
    try:
        return await handler(request)
    except ColdchainError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("request not served", method=request.method, path=request.path, error=str(error))
        return failure(error)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return answer({"message": _words(request, error)}, error.status, allow)
    except Exception:
        if request.transport is None:
            raise  # the client has gone; nobody is left to answer
        incident = uuid.uuid4().hex[:12]
        log.exception("request failed", incident=incident, method=request.method, path=request.path)
        message = f"Internal error {incident}. The controller's log has it under this id; please report it."
        return answer({"message": message}, HTTPStatus.INTERNAL_SERVER_ERROR)


def _words(request: web.Request, error: web.HTTPException) -> str:
    if isinstance(error, web.HTTPNotFound):
        return f"There is nothing at {request.path[:200]}. docs/howto/api.md lists all addresses."
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{request.method} is not possible at {request.path[:200]}; {error.headers.get('Allow')} is."
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return f"The document is larger than {DOCUMENT_BYTES_MAX // 2**20} MiB. No app definition needs as much."
    return error.reason


@web.middleware
async def turn_away(request: web.Request, handler: Handler) -> web.StreamResponse:
    """On loopback only who names this machine as this machine is heard: a page can give its own name our address. Where
    others reach us everybody is asked who he is, which no page of theirs can say, and names are the operator's to give.
    Changes and connections both ways only from no page or from a page of our own."""
    host = request.headers.get("Host")
    if host is not None and not context_of(request).exposed and not _ours(request, host):
        raise Forbidden(
            f"This API is not called {host[:100]!r}",
            todo="Address it as localhost or by the address it listens on.",
        )
    if request.method not in READING or "Upgrade" in request.headers:
        site = request.headers.get("Sec-Fetch-Site", "none")
        origin = request.headers.get("Origin")
        if site not in ("none", "same-origin") or (origin is not None and origin != f"{request.scheme}://{host}"):
            raise Forbidden("A page of another site may change nothing here", todo="Use the command line.")
    return await handler(request)


def _ours(request: web.Request, host: str) -> bool:
    context = context_of(request)
    try:
        name = URL(f"http://{host}").host or ""
        listening = URL(f"http://{context.address}").host or ""
    except ValueError:
        return False
    if name in ("localhost", listening, *context.settings.hosts) or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback
