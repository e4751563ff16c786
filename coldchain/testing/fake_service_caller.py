"""Services without a network: methods by service, on the clock it is given."""

from collections.abc import Awaitable, Callable

from coldchain.model.errors import NotFound, Unavailable
from coldchain.model.service_call import InDoubt, ServiceAnswer, ServiceCall
from coldchain.ports.clock import Clock

Method = Callable[..., Awaitable[object]]


class FakeServiceCaller:
    """Implements `ports.service_caller.ServiceCaller`. `services`: methods by service, version and group; a method
    raises RaisedByService for what it raises. `calls`: all that came, in order. `loses_answers`: so many of the next
    ones are carried out and their answer never comes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.services: dict[tuple[str, str, str], dict[str, Method]] = {}
        self.calls: list[ServiceCall] = []
        self.loses_answers = 0

    async def call(self, call: ServiceCall) -> ServiceAnswer:
        self.calls.append(call)
        methods = self.services.get((call.service, call.version, call.group))
        if not methods:
            raise Unavailable(f"nobody provides {call}")
        method = methods.get(call.method)
        if method is None:
            raise NotFound(f"{call}: there is no such method")
        while True:
            value = await method(*call.arguments)
            if not self.loses_answers:
                return ServiceAnswer(value=value)
            self.loses_answers -= 1
            if not call.idempotent:
                await self._clock.sleep(call.timeout_seconds)
                raise InDoubt(f"{call}: no answer in {call.timeout_seconds:g} s")

    async def close(self) -> None:
        return None
