"""The rules of a file of compositions across its fields: services, paths, names that have to fit each other."""

import re
from collections.abc import Iterator, Mapping

from coldchain.decisions.composition import circle
from coldchain.decisions.composition_path import PLACEHOLDER, parts, placeholder, shape
from coldchain.documents.composition_steps import expression_findings, needs_of, parameter_findings, step_findings
from coldchain.documents.composition_values import Unreadable, read_text
from coldchain.documents.dubbo_fields import INTERFACE, REGISTRY
from coldchain.documents.findings import Finding, Path, closest, shown
from coldchain.documents.route_rules import HEADER, HEADERS_OF_CONNECTION, LABEL
from coldchain.model.composition import Composition, Compositions, Exposed, Input, Service

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""One that stands in an expression without quotes."""
SERVICE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:@/-]*)?")
WORD = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")
OWN_PATHS = "/.coldchain"
WITH_BODY = ("POST", "PUT", "PATCH")


def composition_findings(file: Compositions) -> Iterator[Finding]:
    """Everything wrong with it."""
    for name, service in file.services.items():
        yield from _service(name, service, ("services", name))
    yield from _dubbo(file)
    for position, header in enumerate(file.pass_headers):
        yield from header_findings(header, ("passHeaders", position))
    if not file.compositions:
        yield Finding(("compositions",), "names nothing: there would be no answer to anything")
    titles: dict[str, int] = {}
    shapes: dict[tuple[str, tuple[str, ...]], int] = {}
    for position, one in enumerate(file.compositions):
        here: Path = ("compositions", position)
        yield from _composition(one, file.services, here)
        if titles.setdefault(one.title, position) != position:
            yield Finding((*here, "name"), f"{one.title!r} is the name of /compositions/{titles[one.title]} too")
        first = shapes.setdefault((one.method, shape(one.path)), position)
        if first != position:
            yield Finding((*here, "path"), f"{one.method} {one.path} is answered by /compositions/{first} already")


def _service(name: str, service: Service, where: Path) -> Iterator[Finding]:
    if not SERVICE.fullmatch(name):
        yield Finding(where, f"{shown(name)} is no name: small letters, digits and -._ , at most 63")
    if bool(service.url) == bool(service.interface):
        yield Finding(where, "is either `url`, for HTTP, or `interface`, for Dubbo")
    elif service.url:
        if not URL.fullmatch(service.url):
            reason = "is no http://HOST[:PORT][/PATH], or https, without a name, a password or a query"
            yield Finding((*where, "url"), reason)
        for field in ("version", "group"):
            if getattr(service, field):
                yield Finding((*where, field), "is for services of Dubbo")
    else:
        if not INTERFACE.fullmatch(service.interface) or set("/:") & set(service.interface):
            yield Finding((*where, "interface"), f"{shown(service.interface)} is no interface, as com.shop.Stock")
        if service.host:
            yield Finding((*where, "host"), "is for services by HTTP")
    if service.host and not all(LABEL.fullmatch(one) for one in service.host.partition(":")[0].split(".")):
        yield Finding((*where, "host"), f"{shown(service.host)} is no host name")


def _dubbo(file: Compositions) -> Iterator[Finding]:
    wanted = next((name for name, one in file.services.items() if one.is_dubbo), None)
    if file.dubbo is None:
        if wanted is not None:
            reason = f"has to say by `dubbo: {{registry: zk://...}}` where {wanted} is found"
            yield Finding((), reason, needs=(("dubbo",), ("services", wanted)))
        return
    if not REGISTRY.fullmatch(file.dubbo.registry):
        reason = f"{shown(file.dubbo.registry)} is no address: zk://HOST:PORT[,HOST:PORT...]/ROOT"
        yield Finding(("dubbo", "registry"), reason)
    if not SERVICE.fullmatch(file.dubbo.application):
        yield Finding(("dubbo", "application"), f"{shown(file.dubbo.application)} is no name")


def _composition(one: Composition, services: Mapping[str, Service], where: Path) -> Iterator[Finding]:
    yield from _path(one, (*where, "path"))
    for name, given in one.parameters.items():
        yield from _input(name, given, one, (*where, "parameters", name))
    if one.exposes is not None:
        yield from _exposes(one, one.exposes, services, where)
        return
    if one.answer is None:
        yield Finding(where, "has to say what it answers: `steps` with `answer`, or `exposes`")
    else:
        yield from expression_findings(one.answer, (*where, "answer"), one.steps, whole=True)
    if not one.steps:
        yield Finding((*where, "steps"), "has to name one step at least")
    for name, step in one.steps.items():
        here = (*where, "steps", name)
        if not NAME.fullmatch(name):
            yield Finding(here, f"{shown(name)} is no name: letters, digits and `_`, at most 63, no digit first")
        yield from step_findings(name, step, one, services, here)
    if around := circle(needs_of(one.steps)):
        reason = f"need each other in a circle: {' → '.join((*around, around[0]))}"
        yield Finding((*where, "steps"), reason, needs=tuple((*where, "steps", name) for name in around))


def _path(one: Composition, where: Path) -> Iterator[Finding]:
    if not one.path.startswith("/"):
        yield Finding(where, "must begin with `/`")
        return
    if one.path == OWN_PATHS or one.path.startswith(f"{OWN_PATHS}/"):
        yield Finding(where, f"what is below {OWN_PATHS} is answered by Coldchain itself")
    named: set[str] = set()
    for part in parts(one.path):
        name = placeholder(part)
        if name is None:
            if part in (".", "..") or (part and not WORD.fullmatch(part)) or (not part and one.path != "/"):
                reason = f"{shown(part)} is neither a word of a path nor a whole placeholder, `{{name}}`"
                yield Finding(where, reason)
        elif not NAME.fullmatch(name):
            yield Finding(where, f"{shown(name)} is no name of a parameter")
        elif name in named:
            yield Finding(where, f"{{{name}}} stands in it twice")
        else:
            named.add(name)
            if name in one.parameters and one.parameters[name].place != "path":
                yield Finding(where, f"{{{name}}} is a parameter of the {one.parameters[name].place}")


def _input(name: str, given: Input, one: Composition, where: Path) -> Iterator[Finding]:
    if not NAME.fullmatch(name):
        yield Finding(where, f"{shown(name)} is no name: letters, digits and `_`, at most 63, no digit first")
    named = PLACEHOLDER.findall(one.path)
    if given.place == "path":
        if name not in named:
            yield Finding(where, f"does not stand in the path, as {{{name}}}", closest(name, named))
        if given.default is not None:
            yield Finding((*where, "default"), "is of no use: what is in the path is always given")
    if given.header is not None:
        if given.place != "header":
            yield Finding((*where, "header"), "is for a parameter whose `place` is `header`")
        yield from header_findings(given.header, (*where, "header"))
    elif given.place == "header":
        yield from header_findings(name, where)
    if given.default is not None:
        if given.required:
            yield Finding((*where, "default"), "is of no use: the parameter is `required`")
        try:
            read_text(given.type, given.default)
        except Unreadable as error:
            yield Finding((*where, "default"), str(error))


def _exposes(one: Composition, exposed: Exposed, services: Mapping[str, Service], where: Path) -> Iterator[Finding]:
    here = (*where, "exposes")
    for field in ("steps", "answer", "parameters"):
        if getattr(one, field):
            yield Finding((*where, field), "is not for a composition that `exposes` a method: the body has all")
    if PLACEHOLDER.search(one.path):
        yield Finding((*where, "path"), "has no placeholders where a method is exposed: the body has all")
    if one.method not in WITH_BODY:
        yield Finding((*where, "method"), f"must be one of {', '.join(WITH_BODY)}: the body has the parameters")
    service = services.get(exposed.service)
    if service is None:
        reason = f"there is no {exposed.service!r} among `services`"
        yield Finding((*here, "service"), reason, closest(exposed.service, services))
    elif not service.is_dubbo:
        yield Finding((*here, "service"), f"{exposed.service} is no service of Dubbo")
    yield from parameter_findings(exposed.parameters, (*here, "parameters"))


def header_findings(name: str, where: Path) -> Iterator[Finding]:
    if not HEADER.fullmatch(name):
        yield Finding(where, "a header's name is made of letters, digits and `-`, beginning with a letter")
    elif name.lower() in HEADERS_OF_CONNECTION:
        yield Finding(where, f"{name} is about one connection, and not for here")
