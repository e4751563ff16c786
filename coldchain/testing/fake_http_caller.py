"""Services over HTTP without a network: what answers by host of the URL, on the clock it is given."""

import asyncio
from collections.abc import Awaitable, Callable

from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.http_call import HttpAnswer, HttpCall
from coldchain.model.service_call import InDoubt
from coldchain.ports.clock import Clock

Answering = Callable[[HttpCall], Awaitable[HttpAnswer]]


class FakeHttpCaller:
    """Implements `ports.service_caller.HttpCaller`. `hosts`: what answers by HOST[:PORT]; one that is not there cannot
    be reached. `calls`: all that came, in order. `loses_answers`: so many of the next are carried out, and the
    connection ends then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.hosts: dict[str, Answering] = {}
        self.calls: list[HttpCall] = []
        self.loses_answers = 0

    async def send(self, call: HttpCall) -> HttpAnswer:
        answering = self.hosts.get(call.url.split("/")[2])
        if answering is None:
            raise Unavailable(f"{call}: cannot be reached")
        self.calls.append(call)
        try:
            async with asyncio.timeout(call.timeout_seconds):
                answer = await answering(call)
        except TimeoutError:
            raise InDoubt(f"{call}: no answer in {call.timeout_seconds:g} s") from None
        if self.loses_answers:
            self.loses_answers -= 1
            raise InDoubt(f"{call}: the connection ended without a whole answer")
        if len(answer.body) > call.answer_bytes_max:
            raise Rejected(f"{call}: the answer is larger than {call.answer_bytes_max} bytes")
        return answer

    async def close(self) -> None:
        return None
