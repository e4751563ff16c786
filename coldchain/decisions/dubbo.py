"""dubbo: which providers a consumer may call, from what they say of themselves and what operators say of them.

Nothing here empties a service by what it cannot read: what makes no sense is left out by whoever reads it.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from coldchain.model.dubbo import (
    ANY,
    ANYWHERE,
    Configurator,
    Consumer,
    Export,
    Match,
    Process,
    Provided,
    Provider,
    RouterRule,
)


def fits(wanted: Export, one: Export) -> bool:
    """Whether what is provided is what a consumer asks for; `*` asks for any group or version, `a,b` for one of two
    groups."""
    if wanted.interface not in (one.interface, ANY):
        return False
    group = wanted.group in (ANY, one.group) or one.group in wanted.group.split(",")
    return group and wanted.version in (ANY, one.version)


def announced(process: Process, interface: str, metadata: Iterable[Provided]) -> tuple[Provider, ...]:
    """The providers of an interface that a process has, by its application's metadata."""
    found = []
    for one in metadata:
        port = one.port or process.ports.get(one.protocol, 0)
        if one.interface == interface and port:
            parameters = {"application": process.application} | one.parameters
            found.append(
                Provider(
                    interface=interface, host=process.host, port=port, protocol=one.protocol, parameters=parameters
                )
            )
    return tuple(found)


def merged(providers: Iterable[Provider], others: Iterable[Provider]) -> tuple[Provider, ...]:
    """Who announces himself both ways is one; what he says of the interface itself counts."""
    found = {(one.address, one.export): one for one in others}
    found |= {(one.address, one.export): one for one in providers}
    return tuple(found[place] for place in sorted(found, key=lambda each: (each[0], str(each[1]))))


def effective(
    providers: Iterable[Provider], configurators: Iterable[Configurator], wanted: Export, consumer: Consumer
) -> tuple[Provider, ...]:
    """The providers of what is wanted as operators want them to be; without those that they have switched off."""
    standing = sorted((one for one in configurators if one.enabled), key=lambda one: (one.host, one.priority))
    found = (
        configured(one, [each for each in standing if _means(each, wanted)], consumer)
        for one in providers
        if fits(wanted, one.export)
    )
    return tuple(one for one in found if one.enabled)


def _means(configurator: Configurator, wanted: Export) -> bool:
    """Configurators are found by what a consumer asks for, as Dubbo does it: one of another group is for others."""
    export = configurator.export
    if export.interface not in (wanted.interface, ANY):
        return False
    if export.interface == ANY:
        return True
    return fits(wanted, msgspec.structs.replace(export, interface=wanted.interface))


def configured(provider: Provider, configurators: Sequence[Configurator], consumer: Consumer) -> Provider:
    """A provider with what these configurators say over what it says itself."""
    parameters = provider.parameters
    for one in configurators:
        if _holds(one, provider, parameters, consumer):
            parameters = one.parameters | parameters if one.absent else parameters | one.parameters
    if parameters is provider.parameters:
        return provider
    return msgspec.structs.replace(provider, parameters=parameters)


def _holds(one: Configurator, provider: Provider, parameters: Mapping[str, str], consumer: Consumer) -> bool:
    """What is for the provider's side it does itself, and announces itself anew."""
    if one.side == "provider" or one.application not in (ANY, consumer.application):
        return False
    host = provider.host if one.port else consumer.host
    if one.port not in (0, provider.port) or one.host not in (ANYWHERE, host):
        return False
    if one.addresses and not any(each in (provider.address, provider.host, ANYWHERE) for each in one.addresses):
        return False
    return all(parameters.get(name) == value for name, value in one.conditions.items())


def routed(
    providers: Sequence[Provider], rules: Iterable[RouterRule], consumer: Consumer, method: str = ""
) -> tuple[Provider, ...]:
    """Those of the providers that the rules leave to a call. Each rule, by priority, works on what the ones before it
    left."""
    said = {**consumer.parameters, "host": consumer.host, "application": consumer.application}
    said |= {"method": method, "methods": method} if method else {}
    left = tuple(providers)
    for rule in sorted(rules, key=lambda one: (one.priority, one.name)):
        if not left or not all(_matches(one, said, said) for one in rule.when):
            continue
        if rule.then is None:
            return ()
        chosen = tuple(one for one in left if all(_matches(each, _said(one), said) for each in rule.then))
        if chosen or rule.force:
            left = chosen
    return left


def _said(provider: Provider) -> dict[str, str]:
    own = {"host": provider.host, "port": str(provider.port), "address": provider.address}
    return provider.parameters | own | {"protocol": provider.protocol, "interface": provider.interface}


def _matches(one: Match, said: Mapping[str, str], consumer: Mapping[str, str]) -> bool:
    value = said.get(one.key)
    if value is None:
        return not one.matches
    if any(alike(pattern, value, consumer) for pattern in one.mismatches):
        return False
    if one.matches:
        return any(alike(pattern, value, consumer) for pattern in one.matches)
    return bool(one.mismatches)


def alike(pattern: str, value: str, consumer: Mapping[str, str]) -> bool:
    """A pattern has one `*` at most; `$name` is what the consumer says of itself."""
    if pattern.startswith("$"):
        pattern = consumer.get(pattern[1:], "")
    if pattern == ANY:
        return True
    if not pattern or not value:
        return pattern == value
    before, star, after = pattern.rpartition("*")
    if not star:
        return pattern == value
    return len(value) >= len(before) + len(after) and value.startswith(before) and value.endswith(after)
