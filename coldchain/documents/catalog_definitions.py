"""Definitions that users of Consul's API send: services, checks, sessions. Names of fields in any capitals and with or
without `_`, durations as text (`1m30s`) or nanoseconds, as Consul reads them."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from coldchain.documents.text import parse_json
from coldchain.model.catalog import CatalogCheck, CatalogService, CatalogSession
from coldchain.model.errors import ColdchainError, MalformedDocument

NAME_CHARACTERS_MAX = 255
TEXT_CHARACTERS_MAX = 4096
CHECKS_MAX = 64
META_MAX, META_NAME_MAX, META_VALUE_MAX = 64, 128, 512
DEREGISTER_SECONDS_MIN = 60.0
SESSION_SECONDS_MIN, SESSION_SECONDS_MAX = 10.0, 86400.0
LOCK_DELAY_SECONDS_MAX = 60.0
SECONDS_MAX = 10 * 365 * 86400.0

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_META_NAME = re.compile(r"[A-Za-z0-9_-]+")

_SERVICE_FIELDS = """id name tags meta port address taggedaddresses weights enabletagoverride check checks token
    namespace ns partition"""
_SERVICE_OTHER = "kind proxy connect locality socketpath"
_CHECK_FIELDS = """id checkid name notes status serviceid ttl http tcp interval timeout method header body
    deregistercriticalserviceafter successbeforepassing failuresbeforecritical failuresbeforewarning outputmaxsize
    tlsskipverify tlsservername disableredirects token namespace ns partition"""
_CHECK_OTHER = "grpc grpcusetls dockercontainerid shell aliasnode aliasservice h2ping h2pingusetls udp osservice"
_SCRIPT = "script args scriptargs"

T = TypeVar("T")


def seconds_of(text: str) -> float:
    """A duration as Go writes it, in seconds. Raises MalformedDocument."""
    plain = text.removeprefix("+")
    if plain == "0":
        return 0.0
    parts = _DURATION.findall(plain)
    if not parts or "".join(number + unit for number, unit in parts) != plain or len(plain) > 40:
        raise MalformedDocument(f'invalid duration "{text[:40]}"', todo="Write it as 10s, 1m30s or 500ms")
    return min(SECONDS_MAX, sum(float(number) * _UNITS[unit] for number, unit in parts))


class _Fields:
    """The members of an object, read by kind. What is null is not there."""

    def __init__(self, document: object, known: str, unsupported: str = "") -> None:
        if not isinstance(document, Mapping):
            raise _undecodable(f"an object is expected, not {type(document).__name__}")
        self._given: dict[str, Any] = {}
        for name, value in document.items():
            plain = name.lower().replace("_", "").replace("-", "")
            if plain in unsupported.split():
                if value not in (None, "", [], {}, False):
                    raise MalformedDocument(
                        f"Invalid definition: {name} is not possible here", todo="Leave it out, or use a Consul"
                    )
            elif plain not in known.split():
                raise _undecodable(f'unknown field "{name[:100]}"')
            elif value is not None:
                self._given[plain] = value

    def text(self, name: str) -> str:
        return self._checked(name, str, "text", "")

    def flag(self, name: str) -> bool:
        return self._checked(name, bool, "true or false", False)

    def number(self, name: str, default: int = 0) -> int:
        value = self._checked(name, int, "a whole number", default)
        if isinstance(value, bool) or abs(value) > 2**62:
            raise _undecodable(f"{name} must be a whole number")
        return value

    def _checked(self, name: str, kind: type[T], words: str, default: T) -> T:
        value = self._given.get(name, default)
        if not isinstance(value, kind):
            raise _undecodable(f"{name} must be {words}")
        if isinstance(value, str) and len(value) > TEXT_CHARACTERS_MAX:
            raise _undecodable(f"{name} has more than {TEXT_CHARACTERS_MAX} characters")
        return value

    def seconds(self, name: str, default: float = 0.0) -> float:
        """Text, or a number of nanoseconds."""
        value = self._given.get(name, "")
        if isinstance(value, str):
            return seconds_of(value) if value else default
        if isinstance(value, int | float) and not isinstance(value, bool):
            return min(SECONDS_MAX, value / 1e9)
        raise _undecodable(f"{name} must be a duration")

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._checked(name, list, "an array of texts", [])
        if not all(isinstance(one, str) and len(one) <= NAME_CHARACTERS_MAX for one in found):
            raise _undecodable(f"{name} must be an array of texts of at most {NAME_CHARACTERS_MAX} characters")
        return tuple(found)

    def members(self, name: str) -> dict[str, Any]:
        return dict(self._checked(name, dict, "an object", {}))

    def objects(self, single: str, several: str) -> list[Any]:
        """Those of an array, after the single one."""
        one = self._given.get(single)
        return ([one] if one else []) + list(self._checked(several, list, "an array", []))


def _undecodable(reason: str) -> MalformedDocument:
    return MalformedDocument(f"Request decode failed: {reason}")


def parse_body(body: bytes) -> Any:
    """The JSON of a body; none is an empty object."""
    try:
        return parse_json(body) if body.strip() else {}
    except ColdchainError as error:
        raise _undecodable(error.message) from error


def service_definition(document: object) -> tuple[CatalogService, list[CatalogCheck]]:
    """A service with its checks. Raises MalformedDocument in Consul's words."""
    fields = _Fields(document, _SERVICE_FIELDS, _SERVICE_OTHER)
    name = fields.text("name")
    if not name:
        raise MalformedDocument("Missing service name")
    weights = _Fields(fields.members("weights"), "passing warning")
    address, port = fields.text("address"), fields.number("port")
    service = CatalogService(
        id=_plain(fields.text("id") or name, "service ID"),
        name=_plain(name, "service name"),
        tags=tuple(_plain(tag, "tag") for tag in fields.texts("tags")),
        meta=_meta(fields.members("meta")),
        address=_address(address, "service address") if address else "",
        port=_port(port),
        tagged_addresses=_tagged(fields.members("taggedaddresses"), address, port),
        weight_passing=_weight(weights, "passing", 1),
        weight_warning=_weight(weights, "warning", 0),
        enable_tag_override=fields.flag("enabletagoverride"),
    )
    given = fields.objects("check", "checks")
    if len(given) > CHECKS_MAX:
        raise MalformedDocument(f"Invalid service: it has more than {CHECKS_MAX} checks")
    checks = []
    for place, definition in enumerate(given, start=1):
        default = f"service:{service.id}" if len(given) == 1 else f"service:{service.id}:{place}"
        check = check_definition(definition, f"Service '{service.name}' check", default)
        checks.append(msgspec.structs.replace(check, service_id=service.id))
    if len({check.id for check in checks}) < len(checks):
        raise MalformedDocument("Invalid service: two of its checks have the same CheckID")
    return service, checks


def check_definition(document: object, name: str = "", check_id: str = "") -> CatalogCheck:
    """A check; `name` and `check_id` where it gives none. Raises MalformedDocument in Consul's words."""
    if isinstance(document, Mapping) and any(document.get(one) for one in document if one.lower() in _SCRIPT.split()):
        raise MalformedDocument(
            "Scripts are disabled on this agent", todo="Use a TTL, HTTP or TCP check: commands are never run here"
        )
    fields = _Fields(document, f"{_CHECK_FIELDS} {_SCRIPT}", _CHECK_OTHER)
    name = fields.text("name") or name
    if not name:
        raise MalformedDocument("Missing check name")
    status = fields.text("status") or "critical"
    deregister = fields.seconds("deregistercriticalserviceafter")
    check = CatalogCheck(
        id=_plain(fields.text("checkid") or fields.text("id") or check_id or name, "check ID"),
        name=_plain(name, "check name"),
        kind="ttl",
        service_id=fields.text("serviceid"),
        notes=fields.text("notes"),
        status=check_status(status),
        success_before_passing=_count(fields, "successbeforepassing"),
        failures_before_critical=_count(fields, "failuresbeforecritical"),
        deregister_seconds=max(deregister, DEREGISTER_SECONDS_MIN) if deregister else 0.0,
    )
    return _asked(fields, check)


def _asked(fields: _Fields, check: CatalogCheck) -> CatalogCheck:
    """The check with what is asked, and how often."""
    url, tcp, ttl = fields.text("http"), fields.text("tcp"), fields.seconds("ttl")
    if not url and not tcp:
        if ttl <= 0:
            raise MalformedDocument("Invalid check: TTL must be > 0 for TTL checks")
        return msgspec.structs.replace(check, ttl_seconds=ttl)
    if ttl or (url and tcp):
        raise MalformedDocument("Invalid check: it is of one kind only: TTL, HTTP or TCP")
    interval = fields.seconds("interval")
    if interval <= 0:
        raise MalformedDocument("Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")
    check = msgspec.structs.replace(
        check, interval_seconds=max(1.0, interval), timeout_seconds=fields.seconds("timeout") or 10.0
    )
    if tcp:
        host, port = _host_and_port(f"//{tcp}", tcp)
        return msgspec.structs.replace(check, kind="tcp", host=host, port=port)
    if fields.text("method").upper() not in ("", "GET") or fields.text("body") or fields.members("header"):
        raise MalformedDocument("Invalid check: HTTP checks are plain GET requests here, without body and headers")
    if not url.startswith("http://"):
        raise MalformedDocument(f"Invalid check: {url[:200]!r} is not an http:// address")
    host, port = _host_and_port(url, url, 80)
    path = urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl()
    if re.search(r"[\x00- \x7f]", path):
        raise MalformedDocument(f"Invalid check: {url[:200]!r} has spaces or control characters")
    return msgspec.structs.replace(
        check, kind="http", host=host, port=port, path=path if path.startswith("/") else f"/{path}"
    )


def _host_and_port(url: str, given: str, default: int | None = None) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or default
    except ValueError:
        host, port = None, None
    if not host or not port or "@" in parts.netloc:
        raise MalformedDocument(f"Invalid check: {given[:200]!r} is not HOST:PORT")
    return _address(host, "check address", unspecified=True), port


def check_status(status: str) -> Any:
    """Raises MalformedDocument for what is none."""
    if status not in ("passing", "warning", "critical"):
        raise MalformedDocument(f"Invalid check status: '{status[:40]}'")
    return status


def session_definition(document: object, session_id: str) -> CatalogSession:
    """Raises MalformedDocument in Consul's words."""
    known = "name node behavior ttl lockdelay checks nodechecks servicechecks namespace ns partition"
    fields = _Fields(document, known)
    ttl = fields.seconds("ttl")
    if ttl and not SESSION_SECONDS_MIN <= ttl <= SESSION_SECONDS_MAX:
        raise MalformedDocument(f"Invalid Session TTL '{int(ttl * 1e9)}', must be between [10s=24h0m0s]")
    behavior = fields.text("behavior") or "release"
    if behavior not in ("release", "delete"):
        raise MalformedDocument(f"Invalid Behavior setting '{behavior[:40]}'")
    service_checks = fields.objects("", "servicechecks")
    ids = [_Fields(one, "id namespace").text("id") if isinstance(one, Mapping) else str(one) for one in service_checks]
    session = CatalogSession(
        id=session_id,
        name=fields.text("name"),
        behavior=behavior,  # type: ignore[arg-type]  # one of the two, as was just looked at
        ttl_seconds=ttl,
        lock_delay_seconds=min(LOCK_DELAY_SECONDS_MAX, fields.seconds("lockdelay", 15.0)),
        service_checks=tuple(ids),
    )
    named = fields.texts("nodechecks") or fields.texts("checks")
    return msgspec.structs.replace(session, node_checks=named) if named else session


def _plain(text: str, what: str) -> str:
    if len(text) > NAME_CHARACTERS_MAX or not text.isprintable():
        raise MalformedDocument(f"Invalid {what} {text[:60]!r}: at most {NAME_CHARACTERS_MAX} printable characters")
    return text


def _meta(given: Mapping[str, Any]) -> dict[str, str]:
    if len(given) > META_MAX:
        raise MalformedDocument(f"Invalid Service Meta: it has more than {META_MAX} pairs")
    for name, value in given.items():
        if not isinstance(value, str) or len(value) > META_VALUE_MAX:
            raise MalformedDocument(f"Invalid Service Meta: {name[:60]!r} must be text of {META_VALUE_MAX} at most")
        if len(name) > META_NAME_MAX or not _META_NAME.fullmatch(name):
            raise MalformedDocument(
                f"Invalid Service Meta: {name[:60]!r} must be at most {META_NAME_MAX} letters, digits, `-` and `_`"
            )
    return dict(given)


def _address(text: str, what: str, *, unspecified: bool = False) -> str:
    """An address, or a host name as DNS can carry it."""
    try:
        if ipaddress.ip_address(text).is_unspecified and not unspecified:
            raise MalformedDocument(f"Invalid {what}")
    except ValueError:
        if len(text) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in text.removesuffix(".").split(".")):
            raise MalformedDocument(f"Invalid {what} {text[:60]!r}: neither an IP address nor a host name") from None
    return text


def _port(port: int) -> int:
    if not 0 <= port <= 65535:
        raise MalformedDocument(f"Invalid port {port}: 0 to 65535")
    return port


def _weight(weights: _Fields, name: str, least: int) -> int:
    weight = weights.number(name, 1)
    if not least <= weight <= 65535:
        raise MalformedDocument(f"Invalid Weights: {name.capitalize()} must be {least} to 65535")
    return weight


def _count(fields: _Fields, name: str) -> int:
    count = fields.number(name)
    if not 0 <= count <= 1000:
        raise MalformedDocument(f"Invalid check: {name} must be 0 to 1000")
    return count


def _tagged(given: Mapping[str, Any], address: str, port: int) -> dict[str, tuple[str, int]]:
    """As given; and as Consul does, the address under the names for its kind."""
    found: dict[str, tuple[str, int]] = {}
    for tag, document in given.items():
        fields = _Fields(document, "address port")
        found[_plain(tag, "tag")] = (_address(fields.text("address"), "tagged address"), _port(fields.number("port")))
    try:
        kind = f"ipv{ipaddress.ip_address(address).version}"
    except ValueError:
        return found
    return {f"lan_{kind}": (address, port), f"wan_{kind}": (address, port)} | found
