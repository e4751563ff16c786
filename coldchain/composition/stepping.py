"""stepping: one step: its condition, its call and further tries, its fallback.

document → whether → call → HttpCaller or ServiceCaller → Outcome
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from coldchain.composition.metrics import Meter
from coldchain.composition.prepared import Loaded, Prepared
from coldchain.decisions import composition as decide
from coldchain.decisions.composition import Outcome, Reason
from coldchain.decisions.composition_path import PLACEHOLDER, filled
from coldchain.documents.composition_request import REQUEST_ID
from coldchain.documents.composition_values import Unreadable, header_text, path_text, query_text
from coldchain.documents.exposed_method import call_with, render
from coldchain.documents.expression import Unfit, is_true
from coldchain.model.composition import DubboRequest, HttpRequest, Step, exposed_method
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.http_call import HttpAnswer, HttpCall
from coldchain.model.service_call import InDoubt, RaisedByService
from coldchain.ports.clock import Clock

PAUSE_SECONDS = 0.05
"""Before a further try."""
PASSES = range(200, 300)
JSON = "application/json"
GIVEN_UP = "given up"
"""How a call ended, to the meter, that was open when the whole was over."""

Document = Mapping[str, Any]

log = structlog.get_logger(__name__)


class Stepping:
    """The steps of one request. `passed`: the headers that go along."""

    def __init__(
        self, prepared: Prepared, loaded: Loaded, passed: Mapping[str, str], clock: Clock, meter: Meter
    ) -> None:
        self._prepared = prepared
        self._loaded = loaded
        self._passed = passed
        self._clock = clock
        self._meter = meter

    async def step(self, name: str, document: Document, left_seconds: float) -> Outcome:
        """From its condition to its fallback."""
        step = self._prepared.declared.steps[name]
        began = self._clock.monotonic()
        ended = GIVEN_UP
        try:
            if step.when is not None and not is_true(self._value(step.when, document)):
                outcome = Outcome(state="skipped")
            else:
                outcome = await self._called(step, document, min(step.timeout_seconds, left_seconds))
            ended = outcome.reason or outcome.state
        except Unfit as error:
            outcome = Outcome(state="failed", reason="unfit", words=f"its condition: {error}")
            ended = "unfit"
        finally:
            seconds = self._clock.monotonic() - began
            self._meter.step_ended(self._prepared.declared.title, name, ended, seconds)
        return outcome

    def fallback(self, name: str, document: Document) -> Any:
        """What an optional step that failed has brought all the same."""
        text = self._prepared.declared.steps[name].fallback
        try:
            return None if text is None else self._value(text, document)
        except Unfit:
            return None

    async def _called(self, step: Step, document: Document, seconds: float) -> Outcome:
        deadline = self._clock.monotonic() + seconds
        tries = 0
        while True:
            left_seconds = deadline - self._clock.monotonic()
            share_seconds = decide.try_seconds(left_seconds, step.retries - tries)
            outcome = await self._counted(step, document, share_seconds)
            tries += 1
            left_seconds = deadline - self._clock.monotonic() - PAUSE_SECONDS
            if not decide.may_try_again(step, outcome, tries, left_seconds):
                return outcome
            await self._clock.sleep(PAUSE_SECONDS)

    async def _counted(self, step: Step, document: Document, seconds: float) -> Outcome:
        """Within what its service may have open at once."""
        most, is_open = self._prepared.services[step.service].calls_max, self._loaded.calls_open
        if is_open[step.service] >= most:
            return Outcome(state="failed", reason="busy", words=f"{most} calls of {step.service} are open already")
        is_open[step.service] += 1
        try:
            return await self._try(step, document, seconds)
        finally:
            is_open[step.service] -= 1

    async def _try(self, step: Step, document: Document, seconds: float) -> Outcome:
        began = self._clock.monotonic()
        try:
            if step.http is not None:
                call = self._http_call(step.http, document, seconds)
                return _answered(step.http, await self._loaded.callers.http.send(call))
            assert step.dubbo is not None, "a step has one of the two, or its file was refused"
            return await self._dubbo(step, step.dubbo, document, seconds)
        except (ValueError, RecursionError) as error:  # Unfit, Unreadable, and text that is no Unicode
            return Outcome(state="failed", reason="unfit", words=str(error))
        except ColdchainError as error:
            reason = _reason(error, late=self._clock.monotonic() - began >= seconds)
            log.warning("call failed", service=step.service, reason=reason, error=str(error), **self._known_by())
            return Outcome(state="failed", reason=reason, words=_words(step.service, reason, error, seconds))

    def _http_call(self, request: HttpRequest, document: Document, seconds: float) -> HttpCall:
        """Raises Unfit, Unreadable."""
        service = self._prepared.services[request.service]
        given = {name: self._value(text, document) for name, text in request.values.items()}
        named = {name: given.get(name, document["parameters"].get(name)) for name in PLACEHOLDER.findall(request.path)}
        path = filled(request.path, {name: _placed(path_text, f"{{{name}}}", value) for name, value in named.items()})
        query = query_text({name: self._value(text, document) for name, text in request.query.items()})
        own = {name: self._value(text, document) for name, text in request.headers.items()}
        headers = {name: _placed(header_text, name, value) for name, value in own.items() if value is not None}
        body = None
        if request.body is not None:
            body, headers = msgspec.json.encode(self._value(request.body, document)), {"Content-Type": JSON, **headers}
        return HttpCall(
            service=request.service,
            url=f"{service.url.rstrip('/')}{path}{'?' if query else ''}{query}",
            method=request.method,
            host=service.host,
            headers={"Accept": JSON, **self._passed, **headers},
            body=body,
            timeout_seconds=seconds,
            answer_bytes_max=self._loaded.file.limits.answer_bytes_max,
        )

    async def _dubbo(self, step: Step, request: DubboRequest, document: Document, seconds: float) -> Outcome:
        """Retries are ours: of the caller's own tries each would have less of the time."""
        caller = self._loaded.callers.dubbo
        if caller is None:
            raise Unavailable("no registry of Dubbo is open")
        method = exposed_method(request, self._prepared.services[request.service], seconds)
        values = {name: self._value(text, document) for name, text in request.values.items()}
        answer = await caller.call(call_with(method, values, self._passed))
        body = render(answer)
        if len(body) > self._loaded.file.limits.answer_bytes_max:
            return Outcome(state="failed", reason="unfit", words="the answer is larger than it may be")
        return Outcome(state="answered", value=msgspec.json.decode(body))

    def _known_by(self) -> dict[str, str]:
        return {"composition": self._prepared.declared.title, "request": self._passed.get(REQUEST_ID, "")}

    def _value(self, text: str, document: Document) -> Any:
        return self._prepared.expressions[text].value(document)


def _answered(request: HttpRequest, answer: HttpAnswer) -> Outcome:
    accepted = answer.status in request.accept if request.accept else answer.status in PASSES
    if not accepted:
        words = f"{request.service} answered {answer.status}"
        passed = answer.status in request.pass_statuses
        return Outcome(state="failed", reason="status", words=words, status=answer.status, passed=passed)
    if not answer.body.strip():
        return Outcome(state="answered")
    try:
        return Outcome(state="answered", value=msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, RecursionError) as error:
        return Outcome(state="failed", reason="unfit", words=f"the answer of {request.service} is no JSON: {error}")


def _placed(make: Any, name: str, value: Any) -> str:
    try:
        return str(make(value))
    except Unreadable as error:
        raise Unreadable(f"{name} {error}") from error


def _words(service: str, reason: Reason, error: ColdchainError, seconds: float) -> str:
    """For consumers, who need not know where a service is: the log has that."""
    if reason == "timeout":
        return f"{service}: no answer in {seconds:g} s"
    if reason == "in doubt":
        return f"{service}: the connection ended without a whole answer"
    if reason == "unavailable":
        return f"{service}: cannot be reached"
    if isinstance(error, RaisedByService):
        return f"{service} raised {error.kind}: {error.words}"
    return f"{service}: {error.message}"


def _reason(error: ColdchainError, *, late: bool) -> Reason:
    if isinstance(error, Unavailable):
        return "unavailable"
    if isinstance(error, InDoubt):
        return "timeout" if late else "in doubt"
    return "raised" if isinstance(error, RaisedByService) else "unfit"
