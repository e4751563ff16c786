"""server: requests come in here: what answers them, within which limits, and what they leave in log and numbers.

request → composition → parameters and body → composing, or a method that is exposed → response
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog
from aiohttp import web

from coldchain.composition.composing import Composed, compose
from coldchain.composition.exposed_method import answer as answer_exposed
from coldchain.composition.metrics import NOBODY, Meter
from coldchain.composition.prepared import Loaded, Prepared
from coldchain.composition.stepping import Stepping
from coldchain.decisions.composition_path import Found
from coldchain.documents.answers import error_answer
from coldchain.documents.composition_request import REQUEST_ID, body_of, parameters_of, passed_headers
from coldchain.documents.metrics import CONTENT_TYPE, render
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.ports.clock import Clock

HEALTH, READY, METRICS = "/.coldchain/health", "/.coldchain/ready", "/metrics"
MISSING_HEADER = "X-Coldchain-Missing"
JSON = "application/json"
SHUTDOWN_SECONDS = 5.0
"""For answers that are made and not sent yet."""

log = structlog.get_logger(__name__)


class CompositionService:
    """What answers, apart from the sockets. `loaded` may be replaced at any time: a request goes to its end by what it
    began with. `ready` False: whoever asks is told to go elsewhere, and is served all the same."""

    def __init__(self, loaded: Loaded, clock: Clock) -> None:
        self.loaded = loaded
        self.meter = Meter()
        self.ready = True
        self.requests_open = 0
        self.idle = asyncio.Event()
        """Set while no request is open."""
        self.idle.set()
        self._clock = clock

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request of consumers."""
        if request.path in (HEALTH, READY):
            return self.tell(request)
        began = self._clock.monotonic()
        loaded = self.loaded
        loaded.requests_open += 1
        self.requests_open += 1
        self.idle.clear()
        title, composed, passed = NOBODY, Composed(500, {"message": "Internal error"}), dict[str, str]()
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            passed = passed_headers(headers, loaded.file.pass_headers, uuid.uuid4().hex)
            if self.requests_open > loaded.file.limits.requests_max:
                raise Unavailable("as many requests are open as may be", todo="Try again")
            found = _found(loaded, request)
            if isinstance(found, Composed):
                composed = found
            else:
                title = found.answering.declared.title
                composed = await self._answered(found, loaded, request, headers, passed)
        except ColdchainError as error:
            composed = Composed(*error_answer(error))
        except (ConnectionError, asyncio.CancelledError):
            composed = Composed(499, None)  # nobody is left to answer
            raise
        except Exception:
            log.exception("request failed", composition=title, request=passed.get(REQUEST_ID))
            composed = Composed(500, {"message": "Internal error. The log of the composition layer has more."})
        finally:
            seconds = self._clock.monotonic() - began
            self.meter.request_ended(title, composed.status, seconds, partial=bool(composed.missing))
            loaded.requests_open -= 1
            self.requests_open -= 1
            if not self.requests_open:
                self.idle.set()
        return self._response(composed, title, passed)

    def tell(self, request: web.BaseRequest) -> web.Response:
        """Health, and whether more requests are welcome."""
        words = "ready" if self.ready else "draining"
        status = 503 if request.path == READY and not self.ready else 200
        return self._closing(web.json_response({"status": words}, status=status))

    async def handle_status(self, request: web.BaseRequest) -> web.StreamResponse:
        """Of who looks after it: the same, and the numbers."""
        if request.path in (HEALTH, READY):
            return self.tell(request)
        if request.path != METRICS:
            return web.json_response({"message": f"There are {HEALTH}, {READY} and {METRICS}."}, status=404)
        loaded = self.loaded
        text = render(self.meter.collect(self.requests_open, len(loaded.file.compositions), loaded.calls_open))
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _answered(
        self,
        found: Found[Prepared],
        loaded: Loaded,
        request: web.BaseRequest,
        headers: Mapping[str, str],
        passed: Mapping[str, str],
    ) -> Composed:
        prepared = found.answering
        try:
            async with asyncio.timeout(prepared.declared.timeout_seconds):
                body = await _body(request, loaded.file.limits.body_bytes_max)
        except TimeoutError:
            return Composed(408, {"message": f"no whole body in {prepared.declared.timeout_seconds:g} s"})
        if body is None:
            words = f"the body is larger than {loaded.file.limits.body_bytes_max} bytes"
            return Composed(413, {"message": words})
        if prepared.exposed is not None:
            if loaded.callers.dubbo is None:
                raise Unavailable("no registry of Dubbo is open")
            status, content = await answer_exposed(loaded.callers.dubbo, prepared.exposed, body, passed)
            return Composed(status, msgspec.Raw(content) if status == 200 else msgspec.json.decode(content))
        document = {
            "parameters": parameters_of(prepared.declared, found.values, request.query.items(), headers),
            "body": body_of(body),
            "headers": headers,
        }
        stepping = Stepping(prepared, loaded, passed, self._clock, self.meter)
        return await compose(prepared, document, stepping, self._clock)

    def _response(self, composed: Composed, title: str, passed: Mapping[str, str]) -> web.Response:
        document = composed.document
        if composed.status >= 400 and isinstance(document, dict):
            document = {**document, "requestId": passed.get(REQUEST_ID, "")}
        if composed.status >= 500:
            log.warning("no answer", composition=title, status=composed.status, error=document)
        headers = {"Content-Type": JSON, "X-Request-ID": passed.get(REQUEST_ID, "")}
        if composed.missing:
            headers[MISSING_HEADER] = ", ".join(composed.missing)
        if composed.status == 503:
            headers["Retry-After"] = "1"
        if composed.status == 405:
            headers["Allow"] = ", ".join(composed.document["allowed"])
        return self._closing(web.Response(status=composed.status, body=msgspec.json.encode(document), headers=headers))

    def _closing(self, response: web.Response) -> web.Response:
        """While it leaves, each connection ends with its next answer."""
        if not self.ready:
            response.force_close()
        return response


def _found(loaded: Loaded, request: web.BaseRequest) -> Found[Prepared] | Composed:
    path = request.rel_url.raw_path
    if (found := loaded.table.find(request.method, path)) is not None:
        return found
    if allowed := loaded.table.methods(path):
        words = f"{request.method} is not possible at {request.path[:200]}; {', '.join(allowed)} is"
        return Composed(405, {"message": words, "allowed": allowed})
    return Composed(404, {"message": f"nothing is composed at {request.path[:200]}"})


async def _body(request: web.BaseRequest, most: int) -> bytes | None:
    """None where it is larger than it may be: the rest is not read."""
    if (request.content_length or 0) > most:
        return None
    pieces, size = [], 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > most:
            return None
        pieces.append(piece)
    return b"".join(pieces)


class CompositionServer:
    """The sockets of a service: one for consumers, one for who looks after it. Port 0: any free one."""

    def __init__(self, service: CompositionService, listen: tuple[str, int], status: tuple[str, int] | None) -> None:
        self.service = service
        self._listen = listen
        self._status = status
        self._runners: list[web.ServerRunner] = []
        self.port = 0
        self.status_port = 0

    async def start(self) -> None:
        """Raises ColdchainError naming the address where it cannot listen."""
        self.port = await self._open(self.service.handle, self._listen)
        if self._status is not None:
            self.status_port = await self._open(self.service.handle_status, self._status)

    async def stop(self, settle_seconds: float = 0.0, drain_seconds: float = 10.0) -> None:
        """Not ready from now on. Whoever has not noticed is served for `settle_seconds`; then it listens no more, and
        what is open has `drain_seconds` to end."""
        self.service.ready = False
        if settle_seconds:
            await asyncio.sleep(settle_seconds)
        for runner in self._runners:
            for site in list(runner.sites):
                await site.stop()
        try:
            async with asyncio.timeout(drain_seconds):
                await self.service.idle.wait()
        except TimeoutError:
            log.warning("requests are cut: the time to drain is over", requests=self.service.requests_open)
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _open(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], address: tuple[str, int]
    ) -> int:
        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        host, port = address
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, OverflowError) as error:
            await self.stop(drain_seconds=0.1)
            raise ColdchainError(
                f"Cannot listen on {host}:{port}: {error}", todo="Choose another address, or end what listens there."
            ) from error
        return int(runner.addresses[0][1])
