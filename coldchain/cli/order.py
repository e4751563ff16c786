"""order: in which order definitions are sent: what others depend on first, since it must be there."""

from coldchain.cli.files import Definition


def in_order(definitions: list[Definition]) -> list[Definition]:
    """Each app, and of each group only the first: it is sent as a whole. What no dependency moves stays in the order
    that was given; where they go in a circle all does, and the platform names it."""
    from graphlib import CycleError, TopologicalSorter

    from coldchain.decisions.dependency import ancestors

    sent: dict[int, Definition] = {}
    within: dict[str, dict[int, None]] = {}
    for one in definitions:
        key = id(one.group or one)
        sent.setdefault(key, one)
        for name in (one.app_id, *ancestors(one.app_id)):
            within.setdefault(name, {})[key] = None
    sorter = TopologicalSorter(dict.fromkeys(sent, ()))
    for one in definitions:
        key = id(one.group or one)
        for name in (*one.app.dependencies, *(one.group.dependencies if one.group else ())):
            sorter.add(key, *(other for other in within.get(name, ()) if other != key))
    try:
        return [sent[key] for key in sorter.static_order()]
    except CycleError:
        return list(sent.values())
