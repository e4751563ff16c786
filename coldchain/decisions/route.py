"""route: the gateway's rules per domain, from the routes of all apps; and who gets a place that two apps want."""

from collections.abc import Collection, Iterable

from coldchain.decisions.rotation import services
from coldchain.model.app import App, Route
from coldchain.model.errors import Problem
from coldchain.model.rotation import RouteRule

Place = tuple[str, str, str, tuple[str, ...], tuple[tuple[str, str], ...]]
"""A domain and what of its requests a route wants; of equal ones only one can ever be chosen."""

_KINDS = ("exact", "regex", "prefix")
"""In the order in which they are asked: what is said of one path comes before what is said of many."""


def places(route: Route) -> tuple[Place, ...]:
    """One for each of its domains, in their order."""
    rest = (route.path_kind, route.path, tuple(sorted(route.methods)), tuple(sorted(route.headers.items())))
    return tuple((domain, *rest) for domain in route.domains)


def shown(place: Place) -> str:
    """For people: `shop.test/cart`; `GET,POST shop.test =/cart x-version: 2`, where `=` stands before an exact path and
    `~` before a regular expression."""
    domain, kind, path, methods, headers = place
    sign = {"prefix": "", "exact": " =", "regex": " ~"}[kind]
    conditions = "".join(f" {name}: {value}" for name, value in headers)
    return f"{','.join(methods)} {domain}{sign}{path}{conditions}".strip()


def rules(apps: Iterable[App]) -> dict[str, tuple[RouteRule, ...]]:
    """Rules by domain, in the order in which they are asked: by priority; exact paths, regular expressions, prefixes;
    the longest path; the one with more headers; one for some methods before one for all. Of two apps that want one
    place the first by id has it; `conflicts` keeps that from happening."""
    table: dict[str, dict[Place, tuple[int, RouteRule]]] = {}
    for app in sorted(apps, key=lambda one: one.id):
        service_of = {index: name for name, index in services(app).items()}
        for route in app.routes:
            if route.port_index not in service_of:
                continue
            rule = RouteRule(
                path=route.path,
                service=service_of[route.port_index],
                balance=route.balance,
                path_kind=route.path_kind,
                methods=tuple(sorted(route.methods)),
                headers=dict(sorted(route.headers.items())),
                filters=route.filters,
                name=shown(places(route)[0]),
            )
            for place in places(route):
                table.setdefault(place[0], {}).setdefault(place, (route.priority, rule))
    return {
        domain: tuple(rule for _, rule in sorted(found.values(), key=_order)) for domain, found in sorted(table.items())
    }


def _order(found: tuple[int, RouteRule]) -> tuple[object, ...]:
    priority, rule = found
    headers = tuple(rule.headers.items())
    specific = (_KINDS.index(rule.path_kind), -len(rule.path), rule.path, -len(headers), not rule.methods)
    return (-priority, *specific, headers, rule.methods)


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


def _places(app: App) -> Iterable[Place]:
    return (place for route in app.routes for place in places(route))


def conflicts(app: App, others: Iterable[App], leaving: Iterable[App] = ()) -> list[Problem]:
    """A problem for each place (of a route, or service name) of `app` that another app has already. `leaving`:
    definitions that other apps' instances were made from; they hold their service names until they have stopped."""
    holders: dict[Place, str] = {}
    names: dict[str, str] = {}
    for former in leaving:
        names.update(dict.fromkeys(services(former), f"{former.id}, of which instances are still running"))
    for other in others:
        if other.id == app.id:
            continue
        names.update(dict.fromkeys(services(other), other.id))
        for route in other.routes:
            holders.update(dict.fromkeys(places(route), other.id))
    problems = [
        Problem(path="/service", reason=f"the service name {name!r} belongs to {names[name]}")
        for name in services(app)
        if name in names
    ]
    for index, route in enumerate(app.routes):
        for position, place in enumerate(places(route)):
            holder = holders.get(place)
            if holder is not None:
                reason = f"{shown(place)} belongs to {holder}"
                problems.append(Problem(path=f"/routes/{index}/domains/{position}", reason=reason))
    return problems
