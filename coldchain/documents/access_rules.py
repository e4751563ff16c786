"""The rules of who may use a route: what an address, a network, a header and a claim may be."""

import ipaddress
import re
from collections.abc import Collection, Iterator, Sequence
from urllib.parse import urlsplit

from coldchain.documents.findings import Finding, Path, shown
from coldchain.model.route_access import AddressRules, ApiKeyPlace, Authentication, JsonWebToken

CONSUMER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
CONSUMER_SYNTAX = "must be 1 to 64 letters, digits and `_.@-`, the first a letter or a digit"
QUERY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")


def address_findings(rules: AddressRules, where: Path) -> Iterator[Finding]:
    """Everything wrong with the networks."""
    if not rules.allow and not rules.deny:
        yield Finding(where, "keeps nobody out: give `allow` or `deny`")
    for name, networks in (("allow", rules.allow), ("deny", rules.deny)):
        for position, network in enumerate(networks):
            yield from _network(network, (*where, name, position))


def _network(text: str, where: Path) -> Iterator[Finding]:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        yield Finding(where, f"{shown(text)} is no network: write it as 10.0.0.0/8, 2001:db8::/32 or one address")
        return
    base, _, length = text.partition("/")
    if "%" in text or (length and not length.isdigit()):
        yield Finding(where, f"{shown(text)} is no network: write its length as a number of bits", str(network))
    elif ipaddress.ip_address(base) != network.network_address:
        yield Finding(where, f"{shown(text)} has more bits than its length says", str(network))
    elif isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        yield Finding(where, f"{shown(text)} is IPv4: write it so")


def authentication_findings(wanted: Authentication, where: Path, reserved: Collection[str]) -> Iterator[Finding]:
    """Everything wrong with the ways to show who one is. `reserved`: headers that are not for a route to name, in small
    letters."""
    if wanted.api_key is None and wanted.signature is None and wanted.jwt is None:
        yield Finding(where, "asks for nothing that a consumer could show: give `apiKey`, `signature` or `jwt`")
    if wanted.api_key is not None:
        yield from _api_key(wanted.api_key, (*where, "apiKey"), reserved)
    if wanted.jwt is not None:
        yield from _jwt(wanted.jwt, (*where, "jwt"), reserved)
    yield from _names(wanted.consumers, (*where, "consumers"))
    yield from _names(wanted.groups, (*where, "groups"))


def _names(names: Sequence[str], where: Path) -> Iterator[Finding]:
    for position, name in enumerate(names):
        if not CONSUMER_NAME.fullmatch(name):
            yield Finding((*where, position), f"{shown(name)} {CONSUMER_SYNTAX}")


def _api_key(place: ApiKeyPlace, where: Path, reserved: Collection[str]) -> Iterator[Finding]:
    if (place.header is None) == (place.query is None):
        yield Finding(where, "a key is in one place: give `header` or `query`")
    elif place.header is not None:
        yield from _header(place.header, (*where, "header"), {*reserved, "authorization"})
    elif place.query is not None and not QUERY_NAME.fullmatch(place.query):
        yield Finding((*where, "query"), "the name of a parameter is made of letters, digits and `_.-`, 64 at most")


def _header(name: str, where: Path, reserved: Collection[str]) -> Iterator[Finding]:
    if not HEADER.fullmatch(name):
        yield Finding(where, "a header's name is made of letters, digits and `-`, beginning with a letter")
    elif name.lower() in reserved:
        yield Finding(where, f"{name} has a meaning of its own")


def _jwt(wanted: JsonWebToken, where: Path, reserved: Collection[str]) -> Iterator[Finding]:
    if wanted.algorithm == "HS256":
        if wanted.keys is not None:
            reason = "HS256 has no public keys: consumers get secrets with `coldchain consumer add-key --use jwt`"
            yield Finding((*where, "keys"), reason, needs=((*where, "algorithm"),))
    elif wanted.keys is None:
        yield Finding((*where, "keys"), f"{wanted.algorithm} needs the address of a set of public keys (JWKS)")
    elif not _is_address(wanted.keys):
        yield Finding((*where, "keys"), "must begin with http:// or https://, with a host and no user or fragment")
    seen: set[str] = set()
    for name in wanted.headers:
        yield from _header(name, (*where, "headers", name), {*reserved, "authorization"})
        if name.lower() in seen:
            yield Finding((*where, "headers", name), "is named twice: capitals do not matter")
        seen.add(name.lower())


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = bool(re.fullmatch(r"[!-~]+", text)) and "#" not in text and "\\" not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
