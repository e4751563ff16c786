"""What a server answers with: methods by interface, version and group. Nothing that was not added can be called."""

from collections.abc import Awaitable, Callable, Mapping

from coldchain.clients.dubbo.errors import Refused
from coldchain.clients.dubbo.frame import Status
from coldchain.clients.dubbo.generic import ECHO, is_generic, meant_call, plain
from coldchain.clients.dubbo.message import Call, Result

Method = Callable[..., Awaitable[object]]
"""Takes the arguments of a call; returns a value, or a Result with attachments, or raises RemoteException."""


class NoSuchService(Refused):
    """Nothing was carried out; another provider may have it."""

    def __init__(self, words: str) -> None:
        super().__init__(Status.SERVICE_NOT_FOUND, words, heard=False)


class Services:
    """Is itself what a server wants: it takes a call and gives its result. Generic calls and echoes are understood."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str, str], dict[str, Method]] = {}

    def add(self, interface: str, methods: Mapping[str, Method], *, version: str = "", group: str = "") -> None:
        self._methods[interface, version, group] = dict(methods)

    async def __call__(self, call: Call) -> Result:
        methods = self._methods.get((call.path or call.interface, call.version, call.group))
        if methods is None:
            raise NoSuchService(f"no such service here: {call.words}")
        if call.method == ECHO and len(call.arguments) == 1:
            return Result(call.arguments[0])
        generic = is_generic(call) and call.method not in methods
        meant = meant_call(call) if generic else call
        method = methods.get(meant.method)
        if method is None:
            raise NoSuchService(f"no such method here: {meant.words}")
        answer = await method(*meant.arguments)
        result = answer if isinstance(answer, Result) else Result(answer)
        return Result(plain(result.value), result.attachments) if generic else result
