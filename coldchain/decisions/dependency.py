"""dependency: in which order apps are deployed together: in layers by the longest path of what depends on what.

A group that depends on something means that each of its apps does; who depends on a group depends on each of its apps.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

Dependencies = Mapping[str, Sequence[str]]
"""By the id of an app, or of a group, the ids of the apps and groups that it depends on."""


class Cycle(Exception):  # noqa: N818 -- nothing failed, there is only no order
    """These apps depend on each other, each on the next and the last on the first."""

    def __init__(self, apps: Sequence[str]) -> None:
        super().__init__(" → ".join((*apps, apps[0])))
        self.apps = tuple(apps)


def parent(name: str) -> str:
    """The group that an app or a group is in."""
    return name.rpartition("/")[0] or "/"


def ancestors(name: str) -> Iterator[str]:
    """The groups that it is in, from the nearest to the root."""
    while name != "/":
        name = parent(name)
        yield name


def group_ids(apps: Iterable[str], groups: Iterable[str]) -> set[str]:
    """All groups: those on record, and those that apps and other groups are in."""
    found = {"/"}
    for name in (*groups, *apps):
        for group in ancestors(name):
            if group in found:
                break
            found.add(group)
    return found | set(groups)


def layers(apps: Dependencies, groups: Dependencies) -> tuple[tuple[str, ...], ...]:
    """The apps in layers, each as early as what it depends on allows. What nobody knows is passed over. Raises Cycle.

    Groups stand between: an app leads to the group it depends on, that to all in it. So the time grows with what is
    written, not with every app of one group times every app of the other.
    """
    graph = _Graph(apps, groups)
    depths: dict[str, int] = {}
    for name in apps:
        graph.visit(name, depths)
    found: list[list[str]] = [[] for _ in range(max((depths[name] for name in apps), default=0))]
    for name in sorted(apps):
        found[depths[name] - 1].append(name)
    return tuple(map(tuple, found))


_Node = tuple[str, bool]
"""An id, and whether it is an app's."""


class _Graph:
    """Nodes are apps and groups. An app's depth is one more than the greatest of those it leads to; a group's is the
    greatest of all in it."""

    def __init__(self, apps: Dependencies, groups: Dependencies) -> None:
        self._apps = apps
        self._groups = groups
        self._members: dict[str, list[_Node]] = {group: [] for group in group_ids(apps, groups)}
        for group in self._members:
            if group != "/":
                self._members[parent(group)].append((group, False))
        for name in apps:
            self._members[parent(name)].append((name, True))
        self._depths_of_groups: dict[str, int] = {}
        self._inherited: dict[str, tuple[str, ...]] = {"/": tuple(groups.get("/", ()))}

    def _of_group(self, group: str) -> tuple[str, ...]:
        """What all apps of a group depend on, for its own sake and for that of the groups it is in."""
        if group not in self._inherited:
            self._inherited[group] = (*self._of_group(parent(group)), *self._groups.get(group, ()))
        return self._inherited[group]

    def _leads_to(self, node: _Node) -> Iterator[_Node]:
        name, is_app = node
        if is_app:
            for other in dict.fromkeys((*self._of_group(parent(name)), *self._apps[name])):
                if other in self._apps:
                    yield other, True
                elif other in self._members:
                    yield other, False
        else:
            yield from self._members[name]

    def visit(self, name: str, depths: dict[str, int]) -> None:
        """Find the depth of an app, and of all on the way. With a stack of its own: chains may be long."""
        if name in depths:
            return
        of_groups = self._depths_of_groups
        path: list[tuple[_Node, Iterator[_Node]]] = []
        on_path: set[_Node] = set()
        reached: list[int] = []

        def enter(node: _Node) -> None:
            path.append((node, self._leads_to(node)))
            on_path.add(node)
            reached.append(0)

        enter((name, True))
        while path:
            node, following = path[-1]
            for other in following:
                if other in on_path:
                    raise Cycle(_apps_between([one for one, _ in path], other))
                known = (depths if other[1] else of_groups).get(other[0])
                if known is None:
                    enter(other)
                    break
                reached[-1] = max(reached[-1], known)
            else:
                path.pop()
                on_path.discard(node)
                depth = reached.pop() + node[1]
                (depths if node[1] else of_groups)[node[0]] = depth
                if reached:
                    reached[-1] = max(reached[-1], depth)


def _apps_between(path: Sequence[_Node], first: _Node) -> list[str]:
    """The apps of a path from where it closes."""
    return [name for name, is_app in path[path.index(first) :] if is_app]


def unknown(apps: Dependencies, groups: Dependencies) -> list[tuple[str, str]]:
    """(who, what) for each dependency on something that is not there."""
    known = group_ids(apps, groups) | set(apps)
    return [
        (name, other)
        for table in (groups, apps)
        for name, others in table.items()
        for other in others
        if other not in known
    ]
