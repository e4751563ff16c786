"""The rules of the steps of a composition, and of its expressions."""

import re
from collections.abc import Iterator, Mapping, Sequence

from coldchain.decisions.composition_path import PLACEHOLDER
from coldchain.documents.expression import MISSING, ROOTS, STEPS, WHOLE, Expression, Unfit
from coldchain.documents.findings import Finding, Path, closest, shown
from coldchain.documents.route_rules import HEADER, HEADERS_OF_CONNECTION
from coldchain.model.composition import STEPS_MAX, Composition, DubboRequest, HttpRequest, Service, Step
from coldchain.model.service_call import Parameter

STEP_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/{}-]*")
JAVA_TYPE = re.compile(r"[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*(\[\])*", re.ASCII)
OURS = frozenset({"content-type", "accept", "x-request-id"})
"""Headers that a step cannot choose."""


def needs_of(steps: Mapping[str, Step]) -> dict[str, frozenset[str]]:
    """The steps that have to end before each: those that its expressions read, and those that it names. What is no
    expression reads nothing."""
    return {name: _read(step) | frozenset(step.after) for name, step in steps.items()}


def _read(step: Step) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for text in step.expressions.values():
        try:
            found |= Expression(text).steps()
        except Unfit:
            continue
    return found


def step_findings(
    name: str, step: Step, one: Composition, services: Mapping[str, Service], where: Path
) -> Iterator[Finding]:
    """Everything wrong with one step but circles."""
    if list(one.steps).index(name) == STEPS_MAX:
        yield Finding(where, f"is one more than the {STEPS_MAX} steps that a composition may have")
    for field, text in step.expressions.items():
        yield from expression_findings(text, (*where, *field), one.steps, whole=False)
    for position, other in enumerate(step.after):
        if other not in one.steps:
            reason = f"there is no step {other!r}"
            yield Finding((*where, "after", position), reason, closest(other, one.steps))
    if step.fallback is not None and not step.optional:
        yield Finding((*where, "fallback"), "is for a step that is `optional`")
    if step.retries and not step.idempotent:
        reason = "is for a step that is `idempotent`: to carry it out twice does no harm"
        yield Finding((*where, "retries"), reason)
    if (step.http is None) == (step.dubbo is None):
        yield Finding(where, "has to have one of `http` and `dubbo`")
        return
    yield from _service_of(step, services, where)
    if step.http is not None:
        yield from _http(step.http, one, (*where, "http"))
    if step.dubbo is not None:
        yield from _of_dubbo(step.dubbo, (*where, "dubbo"))


def expression_findings(text: str, where: Path, steps: Mapping[str, Step], *, whole: bool) -> Iterator[Finding]:
    """`whole`: for the answer, which may take all steps at once and see what is missing."""
    try:
        reads = Expression(text).reads
    except Unfit as error:
        yield Finding(where, str(error))
        return
    for name, below in sorted(reads, key=str):
        if name == STEPS and below is not None:
            if below not in steps:
                yield Finding(where, f"there is no step {below!r}", closest(below, steps))
        elif name in (STEPS, WHOLE):
            if not whole:
                reason = f"names no step: write {STEPS}.NAME (in parentheses after `!`), so that it is known what waits"
                yield Finding(where, reason)
        elif name == MISSING and not whole:
            yield Finding(where, f"`{MISSING}` is known when all steps have ended, in `answer`")
        elif name not in ROOTS:
            there = sorted(one for one in ROOTS if whole or one != MISSING)
            yield Finding(where, f"there is no {name!r} here; there are {', '.join(there)}", closest(name, there))


def _service_of(step: Step, services: Mapping[str, Service], where: Path) -> Iterator[Finding]:
    kind = "http" if step.http is not None else "dubbo"
    here = (*where, kind, "service")
    service = services.get(step.service)
    if service is None:
        reason = f"there is no {step.service!r} among `services`"
        yield Finding(here, reason, closest(step.service, services))
    elif service.is_dubbo != (kind == "dubbo"):
        yield Finding(here, f"{step.service} is a service by {'Dubbo' if service.is_dubbo else 'HTTP'}")


def _http(request: HttpRequest, one: Composition, where: Path) -> Iterator[Finding]:
    if not STEP_PATH.fullmatch(request.path):
        yield Finding((*where, "path"), f"{shown(request.path)} is no path, which begins with `/`, without a query")
    known = {*request.values, *one.parameters, *PLACEHOLDER.findall(one.path)}
    named = PLACEHOLDER.findall(request.path)
    for name in named:
        if name not in known:
            reason = f"{{{name}}} is neither one of `values` nor a parameter"
            yield Finding((*where, "path"), reason, closest(name, known), needs=((*where, "values"),))
    if set("{}") & set(PLACEHOLDER.sub("", request.path)):
        yield Finding((*where, "path"), "has a brace that belongs to no placeholder")
    for name in request.values:
        if name not in named:
            yield Finding((*where, "values", name), "stands nowhere in the path", closest(name, named))
    for name in request.headers:
        if not HEADER.fullmatch(name):
            reason = "a header's name is made of letters, digits and `-`, beginning with a letter"
            yield Finding((*where, "headers", name), reason)
        elif name.lower() in HEADERS_OF_CONNECTION | OURS:
            yield Finding((*where, "headers", name), f"{name} is set by Coldchain itself")
    if request.body is not None and request.method in ("GET", "HEAD"):
        yield Finding((*where, "body"), f"is not for {request.method}")
    for position, status in enumerate(request.pass_statuses):
        if status in request.accept:
            yield Finding((*where, "passStatuses", position), f"{status} is an answer, as `accept` says")


def parameter_findings(parameters: Sequence[Parameter], where: Path) -> Iterator[Finding]:
    """Of a method of Dubbo."""
    names = [parameter.name for parameter in parameters]
    for position, parameter in enumerate(parameters):
        if parameter.name in names[:position]:
            yield Finding((*where, position, "name"), f"{parameter.name!r} is named twice")
        if not JAVA_TYPE.fullmatch(parameter.type):
            reason = f"{shown(parameter.type)} is no type of Java's, as int, java.lang.String or com.shop.Item[]"
            yield Finding((*where, position, "type"), reason)


def _of_dubbo(request: DubboRequest, where: Path) -> Iterator[Finding]:
    yield from parameter_findings(request.parameters, (*where, "parameters"))
    names = [parameter.name for parameter in request.parameters]
    for parameter in request.parameters:
        if parameter.name not in request.values and not parameter.optional:
            reason = f"has to say what {parameter.name!r} is, since it is not optional"
            yield Finding((*where, "values"), reason, needs=((*where, "parameters"),))
    for name in request.values:
        if name not in names:
            reason = f"{request.method} has no such parameter"
            yield Finding((*where, "values", name), reason, closest(name, names), needs=((*where, "parameters"),))
