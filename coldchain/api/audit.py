"""audit: `/v1/audit`: who did what, the latest first; and how it is written down."""

from collections.abc import Iterable

import structlog
from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import CALLER, answer, number
from coldchain.control.audit import ENTRIES_KEPT, Changes
from coldchain.decisions.caller import within
from coldchain.documents.audit import AuditEntry, audit_answer
from coldchain.model.errors import ColdchainError

SHOWN = 100
CHARACTERS_MAX = 500
"""Of a path, or of an id in it: whoever knocks says what he likes."""

log = structlog.get_logger(__name__)


async def list_entries(request: web.Request) -> web.Response:
    """`app` (or a group with all below it), `caller`, `count` (100)."""
    count = number(request, "count", ENTRIES_KEPT)
    group, caller = request.query.get("app"), request.query.get("caller")

    def asked_for(one: AuditEntry) -> bool:
        if caller is not None and one.caller != caller:
            return False
        return group is None or any(within(name, "/" + group.strip("/")) for name in one.apps)

    entries = [one for one in await context_of(request).controller.audit.entries() if asked_for(one)]
    return answer({"entries": [audit_answer(one) for one in entries[: SHOWN if count is None else count]]})


async def add_entry(request: web.Request, status: int, concerned: Iterable[str], changes: Changes) -> None:
    """What is done is done: where it cannot be written down, the log has it."""
    context, caller = context_of(request), request.get(CALLER)
    touched = [one.name for one in changes.made if one.kind == "app"]
    entry = AuditEntry(
        id=0,
        at=context.settings.clock.now(),
        caller=caller.name if caller is not None else "",
        role=caller.role if caller is not None else None,
        address=request.remote or "",
        method=request.method,
        path=_plain(request.rel_url.raw_path),
        status=status,
        apps=tuple(dict.fromkeys(map(_plain, (*concerned, *touched)))),
        deployments=tuple(changes.deployments),
        changes=tuple(changes.made),
    )
    try:
        await context.controller.audit.add(entry)
    except ColdchainError as error:
        log.error("audit not written", caller=entry.caller, method=entry.method, path=entry.path, error=str(error))


def _plain(text: str) -> str:
    """Short, and nothing in it that moves a terminal's cursor or is no text."""
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text[:CHARACTERS_MAX])
