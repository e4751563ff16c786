"""route: the gateway's rules per domain, from the routes of all apps; and who gets a place that two apps want."""

from collections.abc import Collection, Iterable

from coldchain.decisions.rotation import services
from coldchain.model.app import App
from coldchain.model.errors import Problem
from coldchain.model.rotation import RouteRule


def rules(apps: Iterable[App]) -> dict[str, tuple[RouteRule, ...]]:
    """Rules by domain, the longest path first. Of two apps that want one place the first by id has it;
    `conflicts` keeps that from happening."""
    table: dict[str, dict[str, RouteRule]] = {}
    for app in sorted(apps, key=lambda one: one.id):
        service_of = {index: name for name, index in services(app).items()}
        for route in app.routes:
            if route.port_index not in service_of:
                continue
            for domain in route.domains:
                rule = RouteRule(path=route.path, service=service_of[route.port_index], balance=route.balance)
                table.setdefault(domain, {}).setdefault(route.path, rule)
    return {
        domain: tuple(sorted(paths.values(), key=lambda rule: (-len(rule.path), rule.path)))
        for domain, paths in sorted(table.items())
    }


def conflicts_among(
    changed: Iterable[App], apps: Collection[App], leaving: Collection[App] = ()
) -> dict[str, list[Problem]]:
    """As `conflicts` for each of the changed apps, by id, among all apps as they are going to be; those without any are
    not named. `leaving`: as there, of all apps. Only those that share a place are looked at one by one."""
    owners: dict[object, set[str]] = {}
    for one in (*apps, *leaving):
        for name in services(one):
            owners.setdefault(name, set()).add(one.id)
    for app in apps:
        for place in _places(app):
            owners.setdefault(place, set()).add(app.id)
    found: dict[str, list[Problem]] = {}
    for app in changed:
        if any(owners.get(place, {app.id}) != {app.id} for place in (*services(app), *_places(app))):
            found[app.id] = conflicts(app, apps, [one for one in leaving if one.id != app.id])
    return {name: problems for name, problems in found.items() if problems}


def _places(app: App) -> Iterable[tuple[str, str]]:
    return ((domain, route.path) for route in app.routes for domain in route.domains)


def conflicts(app: App, others: Iterable[App], leaving: Iterable[App] = ()) -> list[Problem]:
    """A problem for each place (domain and path, or service name) of `app` that another app has already. `leaving`:
    definitions that other apps' instances were made from; they hold their service names until they have stopped."""
    places: dict[tuple[str, str], str] = {}
    names: dict[str, str] = {}
    for former in leaving:
        names.update(dict.fromkeys(services(former), f"{former.id}, of which instances are still running"))
    for other in others:
        if other.id == app.id:
            continue
        names.update(dict.fromkeys(services(other), other.id))
        for route in other.routes:
            places.update({(domain, route.path): other.id for domain in route.domains})
    problems = [
        Problem(path="/service", reason=f"the service name {name!r} belongs to {names[name]}")
        for name in services(app)
        if name in names
    ]
    for index, route in enumerate(app.routes):
        for position, domain in enumerate(route.domains):
            holder = places.get((domain, route.path))
            if holder is not None:
                reason = f"{domain}{route.path} belongs to {holder}"
                problems.append(Problem(path=f"/routes/{index}/domains/{position}", reason=reason))
    return problems
