"""caller: calls a service by the providers that a directory knows, one client for each.

Directory → candidates → who is chosen → its client → the answer, or the next candidate
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from coldchain.clients.dubbo import (
    Call,
    Client,
    ClientSettings,
    DubboError,
    Refused,
    RemoteException,
    Result,
    Status,
    TooLarge,
    Unreadable,
    generic_call,
    inferred_types,
    plain,
)
from coldchain.decisions import dubbo_balance, dubbo_call
from coldchain.decisions.dubbo_call import Try
from coldchain.model.dubbo import Provider
from coldchain.model.errors import ColdchainError, InvalidDocument, NotFound, Problem, Rejected, Unavailable
from coldchain.model.service_call import InDoubt, RaisedByService, ServiceAnswer, ServiceCall
from coldchain.ports.clock import Clock

LEAVE_SECONDS = 10.0
"""For the calls in flight to a provider that is known no more."""
HASHED_ARGUMENTS = 1
"""Of a call, for the consistent hash; Dubbo takes the first one as well."""


class Directory(Protocol):
    """Who provides what, as `dubbo.discovery` follows it."""

    @property
    def trouble(self) -> str:
        """Why the answer may be old."""
        ...

    def providers(self, interface: str, group: str = "", version: str = "", *, method: str = "") -> Sequence[Provider]:
        """Whom a call may go to, as far as is known; an interface is followed from the first question on."""
        ...

    async def known(self, interface: str) -> None:
        """Wait until it was told once who provides it."""
        ...

    async def changed(self) -> None:
        """Wait for the next change."""
        ...


class DubboCaller:
    """Implements ports.service_caller.ServiceCaller. The directory is its owner's to close."""

    def __init__(self, directory: Directory, clock: Clock, *, settings: ClientSettings | None = None) -> None:
        self._directory = directory
        self._clock = clock
        self._settings = settings
        self._clients: dict[tuple[str, int], Client] = {}
        self._turns: dict[tuple[str, str, str, str], Mapping[str, int]] = {}
        """Of the round robin, for each method."""
        self._called: set[tuple[str, str, str]] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.Task[None] | None = None

    async def call(self, call: ServiceCall) -> ServiceAnswer:
        deadline = self._clock.monotonic() + call.timeout_seconds
        self._called.add((call.service, call.group, call.version))
        if self._tidying is None:
            self._tidying = asyncio.create_task(self._tidy())
        await self._known(call)
        tries: list[Try] = []
        trouble: DubboError | None = None
        while True:
            left_seconds = deadline - self._clock.monotonic()
            chosen = self._chosen(call, tries) if left_seconds > 0 else None
            if chosen is None:
                raise self._given_up(call, tries, trouble)
            retries = retries_of(chosen, call.method)
            seconds = dubbo_call.try_seconds(left_seconds, tries, idempotent=call.idempotent, retries=retries)
            try:
                result = await self._client(chosen).call(_message(call, chosen), seconds)
                return ServiceAnswer(value=plain(result.value), attachments=_plain_attachments(result))
            except DubboError as error:
                if (lasting := _lasting(call, error)) is not None:
                    raise lasting from error
                trouble = error if trouble is None or error.heard or not trouble.heard else trouble
                tries.append(Try(address=chosen.address, heard=error.heard))

    async def close(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.wait([self._tidying])
        await asyncio.gather(*(client.close() for client in self._clients.values()), *self._leaving)
        self._clients.clear()

    async def _known(self, call: ServiceCall) -> None:
        """Not longer than the call may take: a directory that is silent may have been told before."""
        if not self._providers(call):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(call.timeout_seconds):
                    await self._directory.known(call.service)

    def _providers(self, call: ServiceCall) -> Sequence[Provider]:
        found = self._directory.providers(call.service, call.group, call.version, method=call.method)
        return [one for one in found if one.protocol == "dubbo"]

    def _chosen(self, call: ServiceCall, tries: Sequence[Try]) -> Provider | None:
        providers = self._providers(call)
        retries = retries_of(providers[0], call.method) if providers else 0
        among = dubbo_call.candidates(providers, tries, idempotent=call.idempotent, retries=retries)
        if not among:
            return None
        key = (call.service, call.group, call.version, call.method)
        chosen, turns = dubbo_balance.choose(
            balance_of(among[0], call.method),
            among,
            method=call.method,
            now=self._clock.now(),
            draw=self._clock.random(),
            turns=self._turns.get(key, {}),
            active={one.address: self._client(one).in_flight for one in among},
            key="".join(map(str, call.arguments[:HASHED_ARGUMENTS])),
        )
        self._turns[key] = turns
        return chosen

    def _client(self, provider: Provider) -> Client:
        place = provider.host, provider.port
        if place not in self._clients:
            self._clients[place] = Client(*place, self._settings, chance=self._clock.random)
        return self._clients[place]

    def _given_up(self, call: ServiceCall, tries: Sequence[Try], trouble: DubboError | None) -> ColdchainError:
        if trouble is None:
            old = f" ({self._directory.trouble})" if self._directory.trouble else ""
            return Unavailable(f"nobody provides {call}{old}", todo="Look whether its providers run")
        words = f"{call}: {trouble.message}"
        if len(tries) > 1:
            words += f" (the last of {len(tries)} tries)"
        if any(one.heard for one in tries):
            return InDoubt(words, todo="Find out whether it was carried out before you call again")
        if isinstance(trouble, Refused) and trouble.status == Status.SERVICE_NOT_FOUND:
            return NotFound(words, todo="Compare method, version and group with what its providers say of themselves")
        return Unavailable(words, todo="Try again")

    async def _tidy(self) -> None:
        """Clients of providers that are known no more are closed; a directory that knows nobody at all closes none."""
        while True:
            await self._directory.changed()
            known = {
                (one.host, one.port)
                for interface, group, version in self._called
                for one in self._directory.providers(interface, group, version)
            }
            for place in set(self._clients) - known if known else ():
                closing = asyncio.create_task(self._clients.pop(place).close(LEAVE_SECONDS))
                self._leaving.add(closing)
                closing.add_done_callback(self._leaving.discard)


def balance_of(provider: Provider, method: str) -> dubbo_balance.Balance:
    """As its provider, or an operator, wants calls to be shared; by chance where that is no way that is known."""
    said = provider.parameters.get(f"{method}.loadbalance") or provider.parameters.get("loadbalance")
    return cast(dubbo_balance.Balance, said or "random")


def retries_of(provider: Provider, method: str) -> int:
    """How often a call that may be carried out twice is tried again, as its provider says."""
    said = provider.parameters.get(f"{method}.retries") or provider.parameters.get("retries") or ""
    return int(said) if said.isascii() and said.isdigit() else dubbo_call.RETRIES


def _message(call: ServiceCall, provider: Provider) -> Call:
    """What is sent to this provider; its own group and version, for a call may ask for any."""
    types = call.parameter_types if call.parameter_types is not None else inferred_types(call.arguments)
    if call.generic:
        return generic_call(
            call.service,
            call.method,
            types,
            call.arguments,
            version=provider.version,
            group=provider.group,
            attachments=call.attachments,
        )
    return Call(
        interface=call.service,
        method=call.method,
        types=types,
        arguments=call.arguments,
        version=provider.version,
        group=provider.group,
        attachments=call.attachments,
    )


def _lasting(call: ServiceCall, error: DubboError) -> ColdchainError | None:
    """What would be the same with any provider."""
    words = f"{call}: {error.message}"
    if isinstance(error, RemoteException):
        return RaisedByService(words, kind=error.kind, words=error.words, stack=[str(one) for one in error.stack])
    if isinstance(error, Unreadable | TooLarge) and not error.heard:
        return InvalidDocument([Problem(path="/arguments", reason=words)])
    if isinstance(error, Unreadable | TooLarge):
        return Rejected(words)
    if isinstance(error, Refused) and error.status == Status.BAD_REQUEST:
        return Rejected(words)
    return None


def _plain_attachments(result: Result) -> dict[str, object]:
    return {name: plain(value) for name, value in result.attachments.items()}
