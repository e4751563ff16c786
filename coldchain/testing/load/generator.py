"""generator: sends the requests of a plan on schedule, whatever becomes of them, and keeps every outcome.

It never tries anything again. A kept connection that the peer had closed before anything was written to it is replaced
by a new one; once a byte of a request was written, whatever happens to it is its outcome (RFC 9112, 9.3.1).
"""

import asyncio
import itertools
import random
import secrets
import socket
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from functools import partial

import msgspec

from coldchain.model.errors import Unavailable
from coldchain.testing.load.answer import Answer
from coldchain.testing.load.connection import Address, Connection
from coldchain.testing.load.outcome import ErrorKind, Method, Outcome
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.load.report import Report, first_failures, summarize

PAUSE_SECONDS_MIN = 0.001
PAUSE_SECONDS_MAX = 0.05
POST_BODY = b'{"order": 1}'


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """sent = answered + failed + in_flight, at every moment."""

    sent: int
    answered: int
    failed: int
    in_flight: int


class _Step:
    def __init__(self, name: str, started: float) -> None:
        self.name = name
        self.started = started


class _Pending:
    __slots__ = (
        "address",
        "connection",
        "id",
        "kept",
        "method",
        "path",
        "reused",
        "scheduled",
        "service_seconds",
        "step",
        "target",
    )

    def __init__(self, request_id: str, step: _Step, scheduled: float, target: Target) -> None:
        self.id = request_id
        self.step = step
        self.scheduled = scheduled
        self.target = target
        self.path = target.path
        self.method: Method = "GET"
        self.address: Address
        self.kept = self.reused = False
        self.service_seconds = 0.0
        self.connection: Connection | None = None


class Generator:
    """Start it in a running event loop; `async with` starts and stops it.

    `outcomes` grows as requests end, in the order of their ends. It measures what its event loop lets it measure: a
    loop that is blocked by others shows as latency (requests are then sent late, but none is left out).
    """

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.outcomes: list[Outcome] = []
        self._random = random.Random(plan.seed)
        self._run = secrets.token_hex(4)
        self._weights = list(itertools.accumulate(target.weight for target in plan.targets))
        self._steps: list[_Step] = []
        self._pending: dict[str, _Pending] = {}  # in the order of their schedule, so that the first times out first
        self._addresses: list[Address] = []
        self._idle: defaultdict[Address, deque[Connection]] = defaultdict(deque)
        self._sent = self._failed = 0
        self._ended_all = asyncio.Event()
        self._stopped: float | None = None

    def start(self) -> None:
        """Begin to send. Raises Unavailable when the address of the plan has no meaning here."""
        if not self._addresses:
            self._addresses = [_resolve(self.plan.address, self.plan.port)]
        self._loop = asyncio.get_running_loop()
        self._started = time.monotonic()
        self._epoch = time.time() - self._started
        if not self._steps:
            self.step("load")
        self._steps[0].started = self._started
        self._tick()

    def step(self, name: str) -> None:
        """From now on requests belong to this step. A name that was used gets a number."""
        names = {step.name for step in self._steps}
        unique = next(
            each
            for each in itertools.chain((name,), (f"{name} ({n})" for n in itertools.count(2)))
            if each not in names
        )
        self._steps.append(_Step(unique, time.monotonic()))

    def direct(self, addresses: Sequence[tuple[str, int]]) -> None:
        """From now on requests go to these in turn, as behind a balancer; kept connections to others carry no more."""
        self._addresses = [_resolve(*one) for one in addresses]
        for address in self._idle.keys() - set(self._addresses):
            for connection in self._idle.pop(address):
                connection.close()

    async def stop(self) -> None:
        """Send no more; returns when every request has been answered or has failed."""
        self._stopped = self._stopped or time.monotonic()
        await self._ended_all.wait()
        self.direct([])

    async def __aenter__(self) -> "Generator":
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def counts(self) -> Counts:
        ended = len(self.outcomes)
        return Counts(sent=self._sent, answered=ended - self._failed, failed=self._failed, in_flight=len(self._pending))

    def report(self) -> Report:
        """All numbers up to now. Costs time in proportion to the requests sent; `counts` costs none."""
        counts = self.counts
        assert counts.sent == counts.answered + counts.failed + counts.in_flight
        end = self._stopped or time.monotonic()
        ends = [step.started for step in self._steps[1:]] + [end]
        by_step: dict[str, list[Outcome]] = {step.name: [] for step in self._steps}
        for outcome in self.outcomes:
            by_step[outcome.step].append(outcome)
        return Report(
            sent=counts.sent,
            in_flight=counts.in_flight,
            total=summarize("total", end - self._started, self.outcomes),
            steps=tuple(
                summarize(step.name, until - step.started, by_step[step.name])
                for step, until in zip(self._steps, ends, strict=True)
            ),
            failures=first_failures(self.outcomes),
        )

    def _tick(self) -> None:
        now = time.monotonic()
        while self._pending:
            first = next(iter(self._pending.values()))
            if first.scheduled + self.plan.timeout_seconds > now:
                break
            if first.connection is not None:
                first.connection.close()
            self._end(first, "timeout", f"no answer within {self.plan.timeout_seconds:g} s")
        due = self._due()
        while self._stopped is None and due <= now:
            self._send(due)
            due = self._due()
        if self._stopped is not None and not self._pending:
            self._ended_all.set()
            return
        pause = max(due - time.monotonic(), PAUSE_SECONDS_MIN)
        self._loop.call_later(min(pause, PAUSE_SECONDS_MAX), self._tick)

    def _due(self) -> float:
        return self._started + self._sent / self.plan.rate

    def _send(self, scheduled: float) -> None:
        plan, draw = self.plan, self._random.random
        target = plan.targets[0]
        if len(plan.targets) > 1:
            target = self._random.choices(plan.targets, cum_weights=self._weights)[0]
        pending = _Pending(f"{self._run}-{self._sent:08d}", self._steps[-1], scheduled, target)
        self._sent += 1
        self._pending[pending.id] = pending
        pending.method = "POST" if draw() < plan.post_share else "GET"
        pending.kept = draw() < plan.keep_alive_share
        if draw() < plan.slow_share:
            pending.service_seconds = plan.slow_seconds
            pending.path += f"{'&' if '?' in target.path else '?'}ms={plan.slow_seconds * 1000:.0f}"
        payload = _render(pending)
        address = pending.address = self._addresses[self._sent % len(self._addresses)]

        def ended(connection: Connection, result: Answer | ErrorKind, detail: str) -> None:
            self._ended(pending, connection, result, detail)

        if pending.kept:
            pending.reused = True
            idle = self._idle[address]
            while idle:
                connection = pending.connection = idle.popleft()
                if connection.send_again(payload, ended):
                    return
            pending.reused = False
        connection = pending.connection = Connection(self._loop, partial(self._idle_end, address))
        connection.send_first(address, payload, ended)

    def _idle_end(self, address: Address, connection: Connection) -> None:
        self._idle[address].remove(connection)

    def _ended(self, pending: _Pending, connection: Connection, result: Answer | ErrorKind, detail: str) -> None:
        if isinstance(result, Answer) and result.request_id not in (None, pending.id):
            connection.close()
            self._end(pending, "malformed", f"the answer to another request: {result.request_id}")
            return
        if pending.kept and connection.open and pending.address in self._addresses:
            self._idle[pending.address].append(connection)
        else:
            connection.close()
        self._end(pending, result, detail)

    def _end(self, pending: _Pending, result: Answer | ErrorKind, detail: str) -> None:
        answer = result if isinstance(result, Answer) else None
        outcome = Outcome(
            id=pending.id,
            step=pending.step.name,
            method=pending.method,
            mode="kept_alive" if pending.kept else "new",
            reused=pending.reused,
            host=pending.target.host,
            path=pending.path,
            status=answer.status if answer else None,
            error=None if isinstance(result, Answer) else result,
            detail=detail,
            version=answer.version if answer else None,
            instance=answer.instance if answer else None,
            started_at=round(self._epoch + pending.scheduled, 6),
            latency_seconds=round(time.monotonic() - pending.scheduled, 6),
            service_seconds=pending.service_seconds,
        )
        del self._pending[pending.id]
        self._failed += outcome.failed
        self.outcomes.append(outcome)


def _render(pending: _Pending) -> bytes:
    """The request as bytes."""
    head = f"{pending.method} {pending.path} HTTP/1.1\r\nHost: {pending.target.host}\r\nX-Request-Id: {pending.id}\r\n"
    if not pending.kept:
        head += "Connection: close\r\n"
    if pending.method == "GET":
        return (head + "\r\n").encode("ascii")
    head += f"Content-Type: application/json\r\nContent-Length: {len(POST_BODY)}\r\n\r\n"
    return head.encode("ascii") + POST_BODY


def _resolve(address: str, port: int) -> Address:
    try:
        family, _, _, _, name = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Unavailable(f"No address for {address}: {error}", todo="Name an IP address or a known host") from error
    return family, name
