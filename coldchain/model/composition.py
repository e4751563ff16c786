"""composition: one answer made out of the answers of several services, as an operator declares it."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.model.base import Noun
from coldchain.model.service_call import ExposedMethod, Parameter

Seconds = Annotated[float, Meta(gt=0, le=600)]
Name = Annotated[str, Meta(min_length=1, max_length=63)]
Expression = Annotated[str, Meta(min_length=1, max_length=4096)]
"""JMESPath."""
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

BODY_BYTES_MAX = 1024 * 1024
ANSWER_BYTES_MAX = 8 * 1024 * 1024
STEPS_MAX = 32


class Service(Noun, frozen=True, kw_only=True):
    """Whom steps call: by `url`, which is the gateway's where it has routes to it (`host`: by which name), or by the
    `interface` of Dubbo. `calls_max`: how many may be open at once; more are refused at once, so that one slow service
    does not take all room."""

    url: str = ""
    host: str = ""
    interface: str = ""
    version: str = ""
    group: str = ""
    calls_max: Annotated[int, Meta(ge=1, le=100_000)] = 256

    @property
    def is_dubbo(self) -> bool:
        return bool(self.interface)


class HttpRequest(Noun, frozen=True, kw_only=True):
    """What a step asks over HTTP. `path` has placeholders, `{name}`: from `values`, else a parameter of that name.
    `query`, `headers`, `values`: an expression for each; what is null is left out. `accept`: the statuses that are an
    answer, all of 2xx if none is named. `pass_statuses`: those that become the status of the whole."""

    service: Name
    method: Method = "GET"
    path: Annotated[str, Meta(max_length=2048)] = "/"
    values: dict[str, Expression] = {}
    query: dict[str, Expression] = {}
    headers: dict[str, Expression] = {}
    body: Expression | None = None
    accept: tuple[Annotated[int, Meta(ge=200, le=599)], ...] = ()
    pass_statuses: tuple[Annotated[int, Meta(ge=400, le=499)], ...] = ()


class DubboRequest(Noun, frozen=True, kw_only=True):
    """What a step asks of a service of Dubbo: an expression for each parameter of the method."""

    service: Name
    method: Name
    parameters: tuple[Parameter, ...] = ()
    values: dict[str, Expression] = {}
    generic: bool = True


class Step(Noun, frozen=True, kw_only=True):
    """One call. It begins when the steps that its expressions name, and those of `after`, have ended, and only if
    `when` is true then; else it is skipped, and null. One that is `optional` may fail: it has its `fallback` then, and
    is named as missing. `retries`: further tries, for a step that is said to be `idempotent`."""

    http: HttpRequest | None = None
    dubbo: DubboRequest | None = None
    after: tuple[Name, ...] = ()
    when: Expression | None = None
    timeout_seconds: Seconds = 2.0
    optional: bool = False
    fallback: Expression | None = None
    idempotent: bool = False
    retries: Annotated[int, Meta(ge=0, le=5)] = 0

    @property
    def service(self) -> str:
        asked = self.http or self.dubbo
        return asked.service if asked else ""

    @property
    def expressions(self) -> dict[tuple[str, ...], str]:
        """By their places in the step."""
        found: dict[tuple[str, ...], str] = {}
        if self.when is not None:
            found["when",] = self.when
        if self.fallback is not None:
            found["fallback",] = self.fallback
        if self.http is not None:
            for field in ("values", "query", "headers"):
                found |= {("http", field, name): one for name, one in getattr(self.http, field).items()}
            if self.http.body is not None:
                found["http", "body"] = self.http.body
        if self.dubbo is not None:
            found |= {("dubbo", "values", name): one for name, one in self.dubbo.values.items()}
        return found


class Input(Noun, frozen=True, kw_only=True):
    """A parameter of a composition, from the path (where it stands as `{name}`), the query or a header."""

    place: Literal["path", "query", "header"] = "query"
    type: Literal["text", "integer", "number", "boolean"] = "text"
    required: bool = False
    default: str | None = None
    header: str | None = None
    """Where it is not called as the parameter is."""


class Exposed(Noun, frozen=True, kw_only=True):
    """One method of a service of Dubbo as the whole answer: its parameters by name are the body of the request."""

    service: Name
    method: Name
    parameters: tuple[Parameter, ...] = ()
    idempotent: bool = False
    generic: bool = True


class Composition(Noun, frozen=True, kw_only=True):
    """What is answered at one method and path: either the expression `answer` over what the `steps` brought, or the
    method that it `exposes`. `timeout_seconds`: for all of it."""

    path: Annotated[str, Meta(min_length=1, max_length=2048)]
    method: Method = "GET"
    name: str = ""
    parameters: dict[str, Input] = {}
    steps: dict[str, Step] = {}
    answer: Expression | None = None
    exposes: Exposed | None = None
    timeout_seconds: Seconds = 5.0

    @property
    def title(self) -> str:
        return self.name or f"{self.method} {self.path}"

    def exposed_method(self, services: dict[str, Service]) -> ExposedMethod | None:
        if self.exposes is None:
            return None
        return exposed_method(self.exposes, services[self.exposes.service], self.timeout_seconds)


class Limits(Noun, frozen=True, kw_only=True):
    """`requests_max`: open at once. `body_bytes_max`: of a request. `answer_bytes_max`: of what a service answers."""

    requests_max: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    body_bytes_max: Annotated[int, Meta(ge=0, le=64 * 1024 * 1024)] = BODY_BYTES_MAX
    answer_bytes_max: Annotated[int, Meta(ge=1, le=256 * 1024 * 1024)] = ANSWER_BYTES_MAX


class Dubbo(Noun, frozen=True, kw_only=True):
    """Where services of Dubbo are found, and by what name the callers are known there."""

    registry: str
    application: str = "coldchain-composition"


class Compositions(Noun, frozen=True, kw_only=True):
    """A whole file. `pass_headers`: what of a request's headers goes along to services, beside the usual ones."""

    compositions: tuple[Composition, ...]
    services: dict[str, Service] = {}
    dubbo: Dubbo | None = None
    limits: Limits = Limits()
    pass_headers: tuple[str, ...] = ()


def exposed_method(
    asked: Exposed | DubboRequest, service: Service, timeout_seconds: float, *, idempotent: bool = False
) -> ExposedMethod:
    """The method with the names by which the service is known."""
    return ExposedMethod(
        service=service.interface,
        method=asked.method,
        parameters=asked.parameters,
        version=service.version,
        group=service.group,
        timeout_seconds=timeout_seconds,
        idempotent=asked.idempotent if isinstance(asked, Exposed) else idempotent,
        generic=asked.generic,
    )
