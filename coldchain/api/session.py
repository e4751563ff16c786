"""session: `/v1/apps/…/exec`: a program beside a task, with its input and output, over a WebSocket.

Binary messages are bytes: to the program's input; from the program behind one byte that tells the stream, 1 output and
2 error. Text messages are JSON objects: to the program `{"columns", "rows"}` or `{"endOfInput": true}`; from it, as
the last one, `{"exitStatus"}`, or `{"error", "status"}` where it could not be run or was lost.
"""

import asyncio
import json
from typing import Any

import structlog
from aiohttp import WSMsgType, web

from coldchain.api.context import Context, context_of, unknown_app
from coldchain.api.exchange import app_id_of, caller_of, flag, number
from coldchain.documents.answers import error_answer
from coldchain.documents.events import instance_exec_event
from coldchain.model.errors import ColdchainError, MalformedDocument, NotFound
from coldchain.model.instance import Instance
from coldchain.ports.session import Session, Stream, TerminalSize

STREAMS: dict[Stream, bytes] = {"output": b"\x01", "error": b"\x02"}
CHARACTERS_MAX = 1000
DEFAULT_SIZE = TerminalSize(columns=80, rows=24)
HEARTBEAT_SECONDS = 30.0

log = structlog.get_logger(__name__)


async def run_command(request: web.Request) -> web.StreamResponse:
    """`argument` (repeated: the program and its arguments), `instance` (beginning of its id; else one that serves),
    `terminal`, `columns`, `rows`."""
    command = request.query.getall("argument", [])
    size = _size(request)
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=2**20)
    if not command or not socket.can_prepare(request).ok:
        raise MalformedDocument(
            "A command is run over a WebSocket, its words given as `argument`", todo="`coldchain exec` does it"
        )
    await socket.prepare(request)
    context = context_of(request)
    try:
        instance = _chosen(context, app_id_of(request), request.query.get("instance"))
        session = await context.controller.engine.open_session(instance.task_id, command, size)
        _announce(request, context, instance, command)
        try:
            last: dict[str, Any] = {"exitStatus": await _carry(context, socket, session)}
        finally:
            await session.close()
    except ColdchainError as error:
        status, body = error_answer(error)
        last = {"error": body["message"], "status": status}
    if not socket.closed:
        await socket.send_json(last)
        await socket.close()
    return socket


def _size(request: web.Request) -> TerminalSize | None:
    if not flag(request, "terminal"):
        return None
    columns, rows = number(request, "columns", CHARACTERS_MAX), number(request, "rows", CHARACTERS_MAX)
    return TerminalSize(columns=columns or DEFAULT_SIZE.columns, rows=rows or DEFAULT_SIZE.rows)


def _chosen(context: Context, app_id: str, name: str | None) -> Instance:
    if name is not None:
        return context.instance(name, app_id)
    instances = [one for one in context.instances(app_id) if one.live and one.agent is not None]
    if not instances:
        if app_id not in context.controller.state.apps:
            raise unknown_app(app_id)
        raise NotFound(f"No instance of {app_id} runs", todo=f"`coldchain status {app_id}` tells why.")
    return next((one for one in instances if one.in_rotation), instances[0])


def _announce(request: web.Request, context: Context, instance: Instance, command: list[str]) -> None:
    """Who looks into a task leaves a trace."""
    body = instance_exec_event(instance, command, context.settings.clock.now())
    context.controller.events.emit("instance_exec_event", f"asked for by {caller_of(request).name}", body)


async def _carry(context: Context, socket: web.WebSocketResponse, session: Session) -> int | None:
    """Both ways until the command ends (its exit status), the client leaves or the server stops (None)."""
    sending = asyncio.create_task(_send(socket, session))
    others = [asyncio.create_task(_receive(socket, session)), asyncio.create_task(_stop(context))]
    try:
        await asyncio.wait({sending, *others}, return_when=asyncio.FIRST_COMPLETED)
        return await sending if sending.done() else None
    except ConnectionResetError:
        return None
    finally:
        for task in (sending, *others):
            task.cancel()
        await asyncio.gather(sending, *others, return_exceptions=True)


async def _stop(context: Context) -> None:
    await context.stopping.wait()


async def _send(socket: web.WebSocketResponse, session: Session) -> int:
    async for stream, piece in session.output():
        await socket.send_bytes(STREAMS[stream] + piece)
    return await session.exit_status()


async def _receive(socket: web.WebSocketResponse, session: Session) -> None:
    """Until the client leaves."""
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await session.write(message.data)
        elif message.type is WSMsgType.TEXT:
            await _control(session, message.data)


async def _control(session: Session, text: str) -> None:
    try:
        said = json.loads(text)
        if said.get("endOfInput"):
            await session.end_input()
        else:
            columns, rows = (min(CHARACTERS_MAX, max(1, int(said[name]))) for name in ("columns", "rows"))
            await session.resize(TerminalSize(columns=columns, rows=rows))
    except (ValueError, TypeError, LookupError, AttributeError):
        log.info("a message that means nothing", text=text[:100])
