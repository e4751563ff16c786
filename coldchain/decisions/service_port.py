"""service_port: the number of each port of an app at a balancer: its own in the whole cluster, as long as it lives."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from coldchain.model.app import App

FIRST, LAST = 10_000, 20_000
"""Those that are given away, both ends included; Marathon's. A definition may name any other."""


def kept(app: App, before: App | None) -> App:
    """The app with the service ports that `before`, its version until now, was given, in place of open ones."""
    had = before.service_ports if before is not None else ()
    return _filled(app, iter([port for port in had if FIRST <= port <= LAST and port not in app.service_ports]))


def assigned(app: App, before: App | None, taken: Collection[int]) -> App:
    """As `kept`, and what is still open is none of `taken`, those of all apps, as long as there are any left: who has
    none of its own keeps 0."""
    return assigned_among({app.id: app}, {app.id: before} if before is not None else {}, taken)[app.id]


def assigned_among(apps: Mapping[str, App], before: Mapping[str, App], taken: Collection[int]) -> dict[str, App]:
    """As `assigned`, for all apps of one change: none gets what another of them names or gets."""
    used = {*taken, *(port for app in apps.values() for port in app.service_ports)}
    free = (port for port in range(FIRST, LAST + 1) if port not in used)
    return {name: _filled(kept(app, before.get(name)), free) for name, app in apps.items()}


def shared(app: App, others: Iterable[App]) -> dict[int, list[str]]:
    """The service ports that are also those of other apps, with these: definitions may name what they like."""
    own = {*app.service_ports} - {0}
    found: dict[int, list[str]] = {}
    for other in others:
        if other.id != app.id:
            for port in own.intersection(other.service_ports):
                found.setdefault(port, []).append(other.id)
    return found


def _filled(app: App, numbers: Iterator[int]) -> App:
    """The app with the next of the numbers for each service port that is 0."""
    ports = tuple(port or next(numbers, 0) for port in app.service_ports)
    if ports == app.service_ports:
        return app
    if app.network.mode == "host" or app.container is None:
        definitions = zip(app.port_definitions, ports, strict=True)
        given = tuple(msgspec.structs.replace(one, port=port) for one, port in definitions)
        return msgspec.structs.replace(app, port_definitions=given)
    mappings = zip(app.container.port_mappings, ports, strict=True)
    mapped = tuple(msgspec.structs.replace(one, service_port=port) for one, port in mappings)
    return msgspec.structs.replace(app, container=msgspec.structs.replace(app.container, port_mappings=mapped))
