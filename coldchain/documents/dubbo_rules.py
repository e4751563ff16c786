"""Dubbo's rules: conditions of routers, and the documents of its configuration center (2.7 and later)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from coldchain.model.dubbo import ANY, ANYWHERE, Configurator, Export, Match, RouterRule, said_version

PART = re.compile(r"([&!=,]*)\s*([^&!=,\s]+)\s*")


def condition_rule(text: str, *, force: bool = False, priority: int = 0, name: str = "") -> RouterRule:
    """Of `host = 10.0.0.1 & method != get* => address = 10.0.0.2:20880`. Raises ValueError."""
    when, arrow, then = text.partition("=>")
    if not arrow:
        when, then = "", text
    when, then = when.strip(), then.strip()
    return RouterRule(
        when=() if when in ("", "true") else _matches(when),
        then=None if then in ("", "false") else _matches(then),
        force=force,
        priority=priority,
        name=name,
    )


def _matches(text: str) -> tuple[Match, ...]:
    found: dict[str, tuple[list[str], list[str]]] = {}
    values: list[str] | None = None
    at, key = 0, ""
    while at < len(text):
        part = PART.match(text, at)
        if part is None:
            raise ValueError(f"rule {text!r} makes no sense at {text[at:]!r}")
        sign, word = part.groups()
        if sign == "&" or (not sign and not at):
            key, values = word, None
            found.setdefault(key, ([], []))
        elif sign == "=" and key:
            values = found[key][0]
            values.append(word)
        elif sign == "!=" and key:
            values = found[key][1]
            values.append(word)
        elif sign == "," and values is not None:
            values.append(word)
        else:
            raise ValueError(f"rule {text!r} makes no sense at {text[at:]!r}")
        at = part.end()
    return tuple(Match(key=key, matches=tuple(yes), mismatches=tuple(no)) for key, (yes, no) in found.items())


def router_rules(document: str) -> tuple[RouterRule, ...]:
    """Of a `.condition-router` document. Raises ValueError."""
    said = _mapping(document)
    if not _true(said, "enabled"):
        return ()
    force, priority = said.get("force") is True, said.get("priority")
    return tuple(
        condition_rule(text, force=force, priority=priority if isinstance(priority, int) else 0)
        for text in _texts(said.get("conditions"), "conditions")
    )


def configurators(document: str) -> tuple[Configurator, ...]:
    """Of a `.configurators` document. Raises ValueError."""
    said = _mapping(document)
    if not _true(said, "enabled"):
        return ()
    whole = said.get("scope") == "application"
    key = str(said.get("key", ""))
    configs = said.get("configs") or []
    if not isinstance(configs, list) or not all(isinstance(one, dict) for one in configs):
        raise ValueError("configs is not a list of mappings")
    return tuple(one for config in configs for one in _configurators(config, key, whole=whole))


def _configurators(config: Mapping[str, Any], key: str, *, whole: bool) -> Iterator[Configurator]:
    parameters = config.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ValueError("parameters is not a mapping")
    side = config.get("side")
    services = _texts(config.get("services"), "services") or (ANY,)
    applications = (key,) if whole else _texts(config.get("applications"), "applications") or (ANY,)
    for address in _texts(config.get("addresses"), "addresses") or (ANYWHERE,):
        host, _, port = address.rpartition(":") if re.search(r":\d+$", address) else (address, "", "0")
        for service in services if whole else (key,):
            for application in applications:
                yield Configurator(
                    export=service_key(service),
                    host=host,
                    port=int(port),
                    application=application,
                    addresses=_texts(config.get("providerAddresses"), "providerAddresses"),
                    parameters={str(name): _text(value) for name, value in parameters.items()},
                    enabled=_true(config, "enabled"),
                    side="provider" if side == "provider" else "consumer",
                )


def service_key(text: str) -> Export:
    """Of INTERFACE:VERSION:GROUP, of which later parts may be missing, or [GROUP/]INTERFACE[:VERSION]."""
    group, slash, rest = text.partition("/")
    interface, _, version = (rest if slash else text).partition(":")
    version, colon, last = version.partition(":")
    return Export(interface=interface, group=last if colon else group if slash else "", version=said_version(version))


def _mapping(document: str) -> Mapping[str, Any]:
    try:
        said = yaml.safe_load(document)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"the rule is no YAML: {error}") from None
    if not isinstance(said, dict):
        raise ValueError("the rule is no mapping")
    return said


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")
    return tuple(map(_text, value))


def _text(value: Any) -> str:
    if isinstance(value, (list, dict)):
        raise ValueError(f"a {type(value).__name__} stands where a word does")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _true(said: Mapping[str, Any], name: str) -> bool:
    return said.get(name, True) is not False
