"""record: what callers change goes into the audit; what they were refused, too, as far as that floods nothing."""

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from coldchain.api.access import Access, access_of
from coldchain.api.audit import add_entry
from coldchain.api.context import context_of
from coldchain.api.guard import READING

REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Around all others, so that what is answered is on record. What was invalid changed nothing, and is not. What a
    standby passes on is put on record by who leads."""
    access = access_of(request)
    if access is None or not _audited(request, access) or context_of(request).stands_by:
        return await handler(request)
    audit, concerned = context_of(request).controller.audit, access.concerned(request)
    with audit.watched() as changes:
        response = await handler(request)
    if response.status in REFUSED:
        if audit.refusal_fits(context_of(request).settings.clock.monotonic()):
            await add_entry(request, response.status, concerned, changes)
    elif request.method not in READING and not 400 <= response.status < 500:
        await add_entry(request, response.status, concerned, changes)
    return response


def _audited(request: web.Request, access: Access) -> bool:
    if access.audited is not None:
        return access.audited
    return request.method not in READING and access.needed != "viewer"
