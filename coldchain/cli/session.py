"""session: a program beside a task of an app, with this terminal as its own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.errors import CommandError, Unreachable
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Url, complete_app
from coldchain.cli.output import run

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

PIECE_BYTES = 16 * 1024
ERROR_STREAM = 2

AppInstance = Annotated[
    str,
    typer.Argument(
        metavar="APP[:INSTANCE]",
        help="Id of the app, and which instance (the beginning of its id); else one that serves.",
        autocompletion=complete_app,
    ),
]
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The program and its arguments.")]


def exec_(
    app: AppInstance,
    command: Command,
    tty: Annotated[
        bool | None,
        typer.Option("--tty/--no-tty", "-t/-T", help="With a terminal, or without. [default: as this command has]"),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Run a program inside a task of an app: `coldchain exec shop -- sh`.

    Exit status: that of the program; 1 it could not be run; 2 usage; 3 no platform answers.
    """
    terminal = (sys.stdin.isatty() and sys.stdout.isatty()) if tty is None else tty
    app_id, _colon, instance = app.partition(":")
    query = [("argument", word) for word in command]
    if instance:
        query.append(("instance", instance))
    if terminal:
        size = shutil.get_terminal_size()
        query += [("terminal", "true"), ("columns", str(size.columns)), ("rows", str(size.lines))]
    path = f"/v1/apps/{app_path(app_id)}/exec"
    run(_exec(Client(url), path, query, terminal=terminal))


async def _exec(client: Client, path: str, query: list[tuple[str, str]], *, terminal: bool) -> None:
    async with client, client.socket(path, query) as socket:
        with _raw() if terminal and sys.stdin.isatty() else contextlib.nullcontext():
            last = await _carry(socket, terminal=terminal)
    if "exitStatus" not in last:
        raise CommandError(str(last["error"]))
    if last["exitStatus"] is None:
        raise Unreachable(_("the platform was stopped while the program ran"))
    raise typer.Exit(last["exitStatus"])


async def _carry(socket: "ClientWebSocketResponse", *, terminal: bool) -> dict[str, Any]:
    """Input and sizes there, output here, until the program ends; what was said last."""
    from aiohttp import WSMsgType

    loop = asyncio.get_running_loop()
    given: asyncio.Queue[bytes] = asyncio.Queue()
    threading.Thread(target=_read, args=(loop, given), daemon=True).start()
    sending = [asyncio.create_task(_send(socket, given))]
    if terminal:
        loop.add_signal_handler(signal.SIGWINCH, lambda: sending.append(asyncio.create_task(_resize(socket))))
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                to = sys.stderr if message.data[0] == ERROR_STREAM else sys.stdout
                await asyncio.to_thread(_write, to.buffer, message.data[1:])
            elif message.type is WSMsgType.TEXT:
                last: dict[str, Any] = json.loads(message.data)
                return last
    finally:
        if terminal:
            loop.remove_signal_handler(signal.SIGWINCH)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
    raise Unreachable(_("the connection was lost; the program may still run"))


def _write(to: Any, data: bytes) -> None:
    to.write(data)
    to.flush()


def _read(loop: asyncio.AbstractEventLoop, given: asyncio.Queue[bytes]) -> None:
    """Standard input into the queue, nothing at its end. In a thread: what is read may be a file or a terminal."""
    while True:
        try:
            data = os.read(sys.stdin.fileno(), PIECE_BYTES)
        except OSError:
            data = b""
        try:
            loop.call_soon_threadsafe(given.put_nowait, data)
        except RuntimeError:
            return  # the program has ended meanwhile
        if not data:
            return


async def _send(socket: "ClientWebSocketResponse", given: asyncio.Queue[bytes]) -> None:
    while data := await given.get():
        await socket.send_bytes(data)
    await socket.send_json({"endOfInput": True})


async def _resize(socket: "ClientWebSocketResponse") -> None:
    size = shutil.get_terminal_size()
    await socket.send_json({"columns": size.columns, "rows": size.lines})


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the program, Ctrl-C too."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
