"""RunnerServer: serves a port Runner over HTTP, and probes from where its tasks are."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, MalformedDocument, Unauthenticated, Unavailable
from coldchain.model.health import Probe
from coldchain.model.task import TaskSpec
from coldchain.ports.prober import Prober
from coldchain.ports.runner import Runner
from coldchain.runners.remote.session import serve_session
from coldchain.runners.remote.wire import (
    SIGN_SECONDS,
    Command,
    Kill,
    Namespace,
    Preparation,
    Prepared,
    Told,
    failure_of,
    is_allowed,
)

STOP_SECONDS = 1.0
BODY_BYTES_MAX = 16 * 1024 * 1024

log = structlog.get_logger(__name__)

N = TypeVar("N", bound=Noun)


class RunnerServer:
    """Answers who shows the token, and nobody else anything. `port` 0: any that is free; `port` then tells which."""

    def __init__(self, runner: Runner, prober: Prober, token: str, address: str, port: int = 0) -> None:
        self.address = address
        self.port = port
        self._runner = runner
        self._prober = prober
        self._token = token
        self._stopping = asyncio.Event()
        self._server: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises Unavailable where it cannot listen."""
        application = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES_MAX)
        application.add_routes(
            [
                web.get("/v1/tasks", self._tasks),
                web.get("/v1/updates", self._updates),
                web.post("/v1/prepare", self._prepare),
                web.post("/v1/launch", self._launch),
                web.post("/v1/probe", self._probe),
                web.post("/v1/tasks/{task_id}/kill", self._kill),
                web.post("/v1/tasks/{task_id}/forget", self._forget),
                web.post("/v1/tasks/{task_id}/execute", self._execute),
                web.get("/v1/tasks/{task_id}/logs", self._logs),
                web.get("/v1/tasks/{task_id}/namespace", self._namespace),
                web.get("/v1/tasks/{task_id}/statistics", self._statistics),
                web.get("/v1/tasks/{task_id}/session", self._session),
            ]
        )
        # Who leaves gives up what he asked for, as a caller in this process would by being cancelled.
        self._server = web.AppRunner(
            application, access_log=None, shutdown_timeout=STOP_SECONDS, handler_cancellation=True
        )
        await self._server.setup()
        site = web.TCPSite(self._server, self.address, self.port)
        try:
            await site.start()
        except OSError as error:
            await self._server.cleanup()
            raise Unavailable(f"cannot listen on {self.address}: {error}") from error
        self.port = self._server.addresses[0][1]

    async def stop(self) -> None:
        """Streams end; what runs runs on."""
        self._stopping.set()
        if self._server is not None:
            await self._server.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if not is_allowed(request.headers.get("Authorization", ""), self._token):
                raise Unauthenticated("this executor answers its own scheduler only")
            return await handler(request)
        except ColdchainError as error:
            return _answer(failure_of(error), error.status)

    # What is answered at once

    async def _tasks(self, request: web.Request) -> web.StreamResponse:
        return _answer(list(await self._runner.tasks()))

    async def _launch(self, request: web.Request) -> web.StreamResponse:
        await self._runner.launch(await _body(request, TaskSpec))
        return _answer(None)

    async def _kill(self, request: web.Request) -> web.StreamResponse:
        grace_seconds = (await _body(request, Kill)).grace_seconds
        await self._runner.kill(request.match_info["task_id"], grace_seconds)
        return _answer(None)

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        await self._runner.forget(request.match_info["task_id"])
        return _answer(None)

    async def _execute(self, request: web.Request) -> web.StreamResponse:
        asked = await _body(request, Command)
        return _answer(await self._runner.execute(request.match_info["task_id"], asked.command, asked.timeout_seconds))

    async def _namespace(self, request: web.Request) -> web.StreamResponse:
        return _answer(Namespace(path=await self._runner.network_namespace(request.match_info["task_id"])))

    async def _statistics(self, request: web.Request) -> web.StreamResponse:
        return _answer(await self._runner.statistics(request.match_info["task_id"]))

    async def _probe(self, request: web.Request) -> web.StreamResponse:
        return _answer(await self._prober.probe(await _body(request, Probe)))

    # What goes on for long

    async def _prepare(self, request: web.Request) -> web.StreamResponse:
        asked = await _body(request, Preparation)
        told: asyncio.Queue[Prepared] = asyncio.Queue()

        async def prepare() -> None:
            try:
                image = await self._runner.prepare(
                    asked.app, asked.image, lambda words: told.put_nowait(Prepared(progress=words))
                )
                told.put_nowait(Prepared(ended=True, image=image))
            except ColdchainError as error:
                told.put_nowait(Prepared(ended=True, failure=failure_of(error)))

        async def lines() -> AsyncGenerator[bytes, None]:
            preparing = asyncio.create_task(prepare())
            try:
                while True:
                    said = await told.get()
                    yield _line(said)
                    if said.ended:
                        return
            finally:
                preparing.cancel()
                await asyncio.gather(preparing, return_exceptions=True)

        return await self._relay(request, lines(), sign=b"\n")

    async def _updates(self, request: web.Request) -> web.StreamResponse:
        updates = self._runner.updates()

        async def lines() -> AsyncGenerator[bytes, None]:
            async with contextlib.aclosing(updates):
                try:
                    async for status in updates:
                        yield _line(Told(status=status))
                except ColdchainError as error:
                    yield _line(Told(failure=failure_of(error)))

        return await self._relay(request, lines(), sign=b"\n")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        tail, since = request.query.get("tail"), request.query.get("since")
        try:
            lines, moment = (int(tail) if tail else None), (float(since) if since else None)
        except ValueError as error:
            raise MalformedDocument(f"the query is wrong: {error}") from error
        pieces = self._runner.logs(
            request.match_info["task_id"], follow="follow" in request.query, tail=lines, since=moment
        )
        first = await anext(pieces, None)  # what is wrong is known before any of it is sent

        async def all_of_it() -> AsyncGenerator[bytes, None]:
            if first is not None:
                yield first
                async for piece in pieces:
                    yield piece

        try:
            return await self._relay(request, all_of_it(), sign=b"")
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    async def _relay(
        self, request: web.Request, pieces: AsyncGenerator[bytes, None], *, sign: bytes
    ) -> web.StreamResponse:
        """Send the pieces as they come, until their end, until who asked has left, or until the server stops."""
        response = web.StreamResponse()
        await response.prepare(request)
        stopping = asyncio.ensure_future(self._stopping.wait())
        upcoming: asyncio.Future[bytes | None] = asyncio.ensure_future(anext(pieces, None))
        try:
            while request.transport is not None and not request.transport.is_closing():
                waiting: set[asyncio.Future[Any]] = {upcoming, stopping}
                await asyncio.wait(waiting, timeout=SIGN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    break
                piece = sign
                if upcoming.done():
                    came = upcoming.result()
                    if came is None:
                        return response
                    piece, upcoming = came, asyncio.ensure_future(anext(pieces, None))
                if piece:
                    await response.write(piece)
            _break(request)
        except ConnectionResetError:
            pass  # who asked has left
        except ColdchainError as error:
            log.info("a stream broke", path=request.path, error=str(error))
            _break(request)
        finally:
            stopping.cancel()
            upcoming.cancel()
            await asyncio.gather(stopping, upcoming, return_exceptions=True)
            await pieces.aclose()
        return response

    async def _session(self, request: web.Request) -> web.StreamResponse:
        return await serve_session(request, self._runner, self._stopping)


def _break(request: web.Request) -> None:
    """Cut the connection: an end that is none must not be taken for one."""
    if request.transport is not None:
        request.transport.abort()


def _line(noun: Noun) -> bytes:
    return msgspec.json.encode(noun) + b"\n"


def _answer(content: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")


async def _body(request: web.Request, kind: type[N]) -> N:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.MsgspecError as error:
        raise MalformedDocument(f"the body is no {kind.__name__}: {error}") from error
