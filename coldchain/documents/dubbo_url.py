"""Dubbo's URLs, and the nodes of ZooKeeper that are named by them.

Values are kept as they are written: Dubbo does not decode them but for `rule`, so neither is lost nor doubled.
"""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import quote_plus, unquote_plus

from coldchain.documents.dubbo_rules import condition_rule
from coldchain.model.dubbo import (
    ANY,
    Announcement,
    Configurator,
    Consumer,
    DubboUrl,
    Export,
    Provider,
    RouterRule,
    said_version,
)

SHAPE = re.compile(
    r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://(?P<place>[^/?]*)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?"
)
PLACE = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:@\[\]\s]+)(?::(?P<port>\d{1,5}))?")
NOT_SET = frozenset(
    (
        *("anyhost", "application", "category", "check", "compatible_config", "config_version", "configVersion"),
        *("dynamic", "enabled", "group", "interface", "interfaces", "name", "priority", "providerAddresses"),
        *("side", "version"),
    )
)
"""What a configurator says of itself, and not of providers."""
OURS = "coldchain.controller"
OF = "coldchain.of"
"""Of a configurator of ours: which controller made it, and of which start of the provider."""

T = TypeVar("T")


def parse_url(text: str) -> DubboUrl:
    """Raises ValueError."""
    shape = SHAPE.fullmatch(text)
    place = PLACE.fullmatch(shape["place"]) if shape else None
    if shape is None or place is None:
        raise ValueError(f"{text[:200]!r} is no URL of Dubbo")
    port = int(place["port"] or 0)
    if port > 65535:
        raise ValueError(f"port {port} of {text[:200]!r} does not exist")
    username, _, password = (place["user"] or "").partition(":")
    pairs = (part.partition("=") for part in (shape["query"] or "").split("&") if part)
    return DubboUrl(
        protocol=shape["protocol"],
        username=username,
        password=password,
        host=place["host"].strip("[]"),
        port=port,
        path=shape["path"] or "",
        parameters={name: value for name, _, value in pairs},
    )


def render_url(url: DubboUrl) -> str:
    user = f"{url.username}{':' if url.password else ''}{url.password}@" if url.username or url.password else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port else ""
    query = "&".join(f"{name}={value}" for name, value in sorted(url.parameters.items()))
    return f"{url.protocol}://{user}{host}{port}/{url.path}{'?' if query else ''}{query}"


def parse_node(name: str) -> DubboUrl:
    """A node's name is a URL, encoded whole. Raises ValueError."""
    return parse_url(unquote_plus(name))


def render_node(url: DubboUrl) -> str:
    """Encoded as Java does it, so that the same URL is the same node."""
    return quote_plus(render_url(url), safe="*").replace("~", "%7E")


def readable(names: Iterable[str], read: Callable[[DubboUrl], T | None]) -> tuple[list[T], list[str]]:
    """What these nodes say, in the order of their names, and the words on those that say nothing readable: one that a
    single provider has written wrong must not hide the others."""
    found: list[T] = []
    wrong: list[str] = []
    for name in sorted(names):
        try:
            one = read(parse_node(name))
        except ValueError as error:
            wrong.append(str(error))
            continue
        if one is not None:
            found.append(one)
    return found, wrong


def provider(url: DubboUrl) -> Provider | None:
    """None for `empty://`, which says that there is none."""
    if url.protocol == "empty":
        return None
    if not url.port:
        raise ValueError(f"provider {url.host} of {url.interface} names no port")
    return Provider(
        interface=url.interface, host=url.host, port=url.port, protocol=url.protocol, parameters=url.parameters
    )


def consumer_url(consumer: Consumer, export: Export) -> DubboUrl:
    """How a consumer of ours is announced."""
    said = {"application": consumer.application, "group": export.group, "version": export.version}
    parameters = {"category": "consumers", "check": "false", "interface": export.interface, "side": "consumer"}
    parameters |= consumer.parameters | {name: value for name, value in said.items() if value}
    return DubboUrl(protocol="consumer", host=consumer.host, path=export.interface, parameters=parameters)


def export_of(url: DubboUrl) -> Export:
    version = said_version(url.parameters.get("version", ""))
    return Export(interface=url.interface, group=url.parameters.get("group", ""), version=version)


def configurator(url: DubboUrl) -> Configurator | None:
    """None for `empty://`. Raises ValueError."""
    if url.protocol == "empty":
        return None
    if url.protocol not in ("override", "absent"):
        raise ValueError(f"{url.protocol}:// is no configurator")
    said = url.parameters
    side = said.get("side", "")
    conditions = {name[1:]: value for name, value in said.items() if name.startswith("~")}
    return Configurator(
        export=export_of(url),
        host=url.host,
        port=url.port,
        application=said.get("application") or url.username or ANY,
        addresses=tuple(filter(None, said.get("providerAddresses", "").split(","))),
        conditions={name: value for name, value in conditions.items() if value != ANY},
        parameters={name: value for name, value in said.items() if name not in NOT_SET and not name.startswith("~")},
        absent=url.protocol == "absent",
        enabled=said.get("enabled", "true") == "true",
        priority=_number(said.get("priority")),
        side="consumer" if side == "consumer" else "provider" if side == "provider" else "",
    )


def router(url: DubboUrl) -> RouterRule | None:
    """None for `empty://`, and for one that is not enabled. Raises ValueError, also for scripts: nothing that comes
    from a registry is run."""
    if url.protocol == "empty" or url.parameters.get("enabled", "true") != "true":
        return None
    kind = url.parameters.get("router", url.protocol if url.protocol != "route" else "condition")
    if kind != "condition":
        raise ValueError(f"a router of kind {kind!r} is not run here")
    return condition_rule(
        unquote_plus(url.parameters.get("rule", "")),
        force=url.parameters.get("force") == "true",
        priority=_number(url.parameters.get("priority")),
        name=url.parameters.get("name", ""),
    )


def announcement(url: DubboUrl) -> Announcement | None:
    """That a provider is there; None for `empty://`."""
    if url.protocol == "empty":
        return None
    started = url.parameters.get("timestamp", "")
    return Announcement(export=export_of(url), host=url.host, port=url.port, started=started)


def switched_off_url(one: Announcement, controller_id: str) -> DubboUrl:
    """The configurator by which consumers leave a provider; it stays until it is taken away, whoever dies."""
    parameters = {
        "category": "configurators",
        OURS: controller_id,
        "disabled": "true",
        "dynamic": "false",
        "enabled": "true",
    }
    said = {"group": one.export.group, "version": one.export.version, OF: one.started}
    parameters |= {name: value for name, value in said.items() if value}
    return DubboUrl(protocol="override", host=one.host, port=one.port, path=one.export.interface, parameters=parameters)


def switched_off(url: DubboUrl, controller_id: str) -> Announcement | None:
    """What that controller meant by a configurator; None where it is not one of its own."""
    if url.protocol != "override" or url.parameters.get(OURS) != controller_id:
        return None
    return Announcement(export=export_of(url), host=url.host, port=url.port, started=url.parameters.get(OF, ""))


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"-?\d{1,9}", text) else 0
