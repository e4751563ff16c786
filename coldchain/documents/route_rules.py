"""The rules of routes: what a domain, a path, a regular expression and a header may be."""

import re
from collections.abc import Collection, Iterator

from coldchain.decisions.route import Place, places
from coldchain.decisions.route import shown as shown_place
from coldchain.documents.access_rules import address_findings, authentication_findings
from coldchain.documents.findings import Finding, Path, shown
from coldchain.documents.firewall_rules import firewall_findings
from coldchain.documents.limit_rules import ejection_findings, limit_findings
from coldchain.model.app import App, HeaderChanges, Redirect, Route, RouteFilters

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]*")
METHOD = re.compile(r"[A-Z]{1,32}")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
HEADER_VALUE = re.compile(r"[!-~]([ -~]{0,1022}[!-~])?")
HEADERS_OF_CONNECTION = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""They are about one connection or frame the request: by them a request could be one thing here and another there."""
HEADERS_OF_THE_GATEWAY = frozenset(
    {
        *(
            "forwarded",
            "proxy",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-real-ip",
            "x-request-id",
        ),
        *("x-consumer-name", "x-consumer-groups", "x-gray"),
    }
)
"""Apps believe the gateway in these; it sets them after all filters."""
REDIRECTS = (301, 302, 303, 307, 308)
PATTERN_CHARACTERS_MAX = 512
ESCAPES = frozenset("dDwWsSbB")
"""Letters that mean the same after a backslash to Python and to the gateway's PCRE."""


def route_findings(app: App) -> Iterator[Finding]:
    """Everything wrong with the routes but their ports."""
    first: dict[Place, Path] = {}
    for position, route in enumerate(app.routes):
        where: Path = ("routes", position)
        if route.path_kind == "regex":
            yield from _pattern(route.path, (*where, "path"))
        else:
            yield from _path(route.path, (*where, "path"))
        for number, method in enumerate(route.methods):
            if not METHOD.fullmatch(method):
                yield Finding((*where, "methods", number), f"{shown(method)} is no method: capitals, 32 at most")
        yield from _headers(route, (*where, "headers"))
        if route.filters is not None:
            yield from _filters(route, route.filters, (*where, "filters"))
        for number, (domain, place) in enumerate(zip(route.domains, places(route), strict=True)):
            here = (*where, "domains", number)
            yield from _domain(domain, here)
            before = first.setdefault(place, here)
            if before != here:
                yield Finding(here, f"{shown_place(place)} is routed twice", needs=(before,))


def _path(path: str, where: Path) -> Iterator[Finding]:
    if not PATH.fullmatch(path):
        yield Finding(
            where,
            "must begin with `/` and be made of letters, digits and -._~!$&'()*+,;=:@/: a prefix of decoded paths,"
            " without query, percent signs and control characters",
        )
    elif {"..", "."} & set(path.split("/")) or "//" in path:
        yield Finding(where, "must not contain `..`, `.` or empty parts: no request that gets here has them")


def _pattern(pattern: str, where: Path) -> Iterator[Finding]:
    """Only what Python, by which it is checked, and PCRE, by which the gateway matches, understand in one way."""
    if not re.fullmatch(r"[ -~]+", pattern):
        yield Finding(where, "a regular expression of visible ASCII characters, for the whole decoded path")
    elif len(pattern) > PATTERN_CHARACTERS_MAX:
        yield Finding(where, f"a regular expression has at most {PATTERN_CHARACTERS_MAX} characters")
    elif strange := _strange(pattern):
        reason = (
            f"{strange} is not understood here: use classes, groups `(…)` and `(?:…)`, `|`, repetitions and anchors"
        )
        yield Finding(where, reason)
    else:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield Finding(where, f"is no regular expression: {error}")


def _strange(pattern: str) -> str:
    """The first construct that the two may understand differently; empty for none."""
    for found in re.finditer(r"\\(.)|\(\?(?!:)|\[\[|\[:|\[\^?\]|[*+?}]\+|\{,", pattern):
        if not found[1]:
            return f"`{found[0]}`"
        if found[1].isalnum() and found[1] not in ESCAPES:
            return f"`{found[0]}`"
    return ""


def _headers(route: Route, where: Path) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, value in route.headers.items():
        if not HEADER.fullmatch(name):
            yield Finding((*where, name), "a header's name is made of letters, digits and `-`, beginning with a letter")
        elif name.lower() in HEADERS_OF_CONNECTION:
            yield Finding(
                (*where, name), "requests are not chosen by headers of the connection; for hosts see `domains`"
            )
        elif seen.setdefault(name.lower(), name) != name:
            yield Finding((*where, name), f"is named twice, also as {seen[name.lower()]}: capitals do not matter")
        if not HEADER_VALUE.fullmatch(value):
            yield Finding((*where, name), "a value of visible ASCII characters, or `*` for any")


def _filters(route: Route, filters: RouteFilters, where: Path) -> Iterator[Finding]:
    if filters.rewrite is not None:
        yield from _replacement(route, filters.rewrite, (*where, "rewrite"))
    if filters.redirect is not None:
        yield from _redirect(route, filters.redirect, (*where, "redirect"))
        others = [name for name in filters.__struct_fields__ if name != "redirect"]
        always = (filters.redirect.domain, filters.redirect.path) != (None, None)
        if always and any(getattr(filters, name) is not None for name in others):
            yield Finding(where, "no instance sees a request that is redirected: give `redirect` or other filters")
    if filters.protocol is not None and (filters.body_bytes_max is not None or filters.firewall is not None):
        yield Finding(where, "gRPC flows both ways at once: leave out `bodyBytesMax` and `firewall`")
    if filters.firewall is not None:
        yield from firewall_findings(filters.firewall, (*where, "firewall"))
    for name, changes in (("requestHeaders", filters.request_headers), ("responseHeaders", filters.response_headers)):
        if changes is not None:
            yield from _changes(changes, (*where, name), HEADERS_OF_THE_GATEWAY if name == "requestHeaders" else ())
    if filters.addresses is not None:
        yield from address_findings(filters.addresses, (*where, "addresses"))
    if filters.authentication is not None:
        reserved = HEADERS_OF_CONNECTION | HEADERS_OF_THE_GATEWAY
        yield from authentication_findings(filters.authentication, (*where, "authentication"), reserved)
    yield from limit_findings(filters.limits or (), (*where, "limits"))
    if filters.ejection is not None:
        yield from ejection_findings(filters.ejection, (*where, "ejection"))


def _replacement(route: Route, path: str, where: Path) -> Iterator[Finding]:
    """A path; where the route's is a regular expression, with `$1` for its groups."""
    if route.path_kind != "regex":
        yield from _path(path, where)
        return
    yield from _path(re.sub(r"\$\d", "x", path), where)
    try:
        groups = re.compile(route.path).groups
    except (re.error, OverflowError, RecursionError):
        return  # it is named where it stands
    for found in re.findall(r"\$(\d*)", path):
        if found == "" or int(found) > groups:
            yield Finding(where, f"`${found}` is no group of the regular expression, which has {groups}")


def _redirect(route: Route, redirect: Redirect, where: Path) -> Iterator[Finding]:
    if (redirect.scheme, redirect.domain, redirect.path) == (None, None, None):
        yield Finding(where, "leads to where the request is: give `scheme`, `domain` or `path`")
    if redirect.status not in REDIRECTS:
        yield Finding((*where, "status"), f"must be one of {', '.join(map(str, REDIRECTS))}")
    if redirect.path is not None:
        yield from _replacement(route, redirect.path, (*where, "path"))
    if redirect.domain is not None and not all(LABEL.fullmatch(label) for label in redirect.domain.split(".")):
        yield Finding(
            (*where, "domain"), f"{shown(redirect.domain)} is no host name: lower-case letters, digits and `-`"
        )


def _changes(changes: HeaderChanges, where: Path, reserved: Collection[str]) -> Iterator[Finding]:
    if not changes.set and not changes.remove:
        yield Finding(where, "changes nothing: give `set` or `remove`")
    named = [((*where, "set", name), name) for name in changes.set]
    named += [((*where, "remove", number), name) for number, name in enumerate(changes.remove)]
    for here, name in named:
        if not HEADER.fullmatch(name):
            yield Finding(here, "a header's name is made of letters, digits and `-`, beginning with a letter")
        elif name.lower() in HEADERS_OF_CONNECTION or name.lower() in reserved:
            yield Finding(here, f"{name} is the gateway's own to set")
    for name, value in changes.set.items():
        if not HEADER_VALUE.fullmatch(value):
            yield Finding((*where, "set", name), "a value of visible ASCII characters")


def _domain(domain: str, where: Path) -> Iterator[Finding]:
    if domain == "*":
        return
    labels = domain.removeprefix("*.").split(".")
    if len(domain) <= 253 and all(LABEL.fullmatch(label) for label in labels):
        return
    if "*" in domain:
        reason = "`*` alone stands for every other domain, `*.` at the beginning for all below one"
    elif not domain.isascii():
        reason = "write it as browsers send it (xn--…)"
    elif ":" in domain or "/" in domain:
        reason = "a domain has no scheme, port or path"
    else:
        reason = "labels of letters, digits and `-`, 63 at most in each, separated by dots"
    yield Finding(where, f"{shown(domain)} is no host name: {reason}")
