"""service_call: one call of a method of a service, and what comes of it."""

from collections.abc import Sequence
from typing import Any

from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, Rejected

TIMEOUT_SECONDS = 5.0


class ServiceCall(Noun, frozen=True, kw_only=True):
    """`service`: the interface. Arguments are null, booleans, numbers, text, bytes, lists and dicts; a dict with its
    class under `class` is an object of it. `parameter_types`: by Java's names, None for those that the arguments are
    likely to have. `generic` False: for a provider that knows no `$invoke`, as those that are not in Java may.
    `idempotent`: to carry it out twice does no harm, so that it may be tried again where that cannot be excluded.
    `timeout_seconds`: for all tries together."""

    service: str
    method: str
    arguments: tuple[Any, ...] = ()
    parameter_types: tuple[str, ...] | None = None
    version: str = ""
    group: str = ""
    timeout_seconds: float = TIMEOUT_SECONDS
    attachments: dict[str, str] = {}
    idempotent: bool = False
    generic: bool = True

    def __str__(self) -> str:
        group = f"{self.group}/" if self.group else ""
        version = f":{self.version}" if self.version else ""
        return f"{group}{self.service}{version}#{self.method}"


class ServiceAnswer(Noun, frozen=True, kw_only=True):
    """A value of the same kinds as arguments."""

    value: Any = None
    attachments: dict[str, Any] = {}


class Parameter(Noun, frozen=True, kw_only=True):
    """Of a method, with Java's name of its type. An `optional` one that is not given is null."""

    name: str
    type: str
    optional: bool = False


class ExposedMethod(Noun, frozen=True, kw_only=True):
    """One method of a service that HTTP requests may call: their body has its parameters by name."""

    service: str
    method: str
    parameters: tuple[Parameter, ...] = ()
    version: str = ""
    group: str = ""
    timeout_seconds: float = TIMEOUT_SECONDS
    idempotent: bool = False
    generic: bool = True


class RaisedByService(Rejected):
    """The method was carried out and raised: class, words and stack are its own."""

    def __init__(self, message: str, *, kind: str, words: str, stack: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.words = words
        self.stack = tuple(stack)


class InDoubt(ColdchainError):  # noqa: N818 -- the field's word
    """Nothing is known of the call: it may have been carried out, or be so yet."""

    status = 504
