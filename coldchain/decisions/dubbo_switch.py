"""dubbo_switch: when an instance that provides services of Dubbo may serve, and how its consumers are made to leave it.

Consumers follow ZooKeeper and ask no gateway. So an instance serves when what it has to announce stands there; one
that leaves is switched off there by a configurator, and then its announcements are withdrawn: not every consumer
follows configurators, and what is withdrawn comes back when a provider connects anew.
"""

from collections.abc import Collection, Iterable, Mapping

from coldchain.decisions.dubbo import announced as announced_as
from coldchain.decisions.rotation import IN_ROTATION, LEAVING
from coldchain.model.base import Noun
from coldchain.model.dubbo import Announced, Announcement, Export, Process, Provided
from coldchain.model.instance import Instance

Place = tuple[str, int]

LINGERS_SECONDS_MAX = 120.0
"""How long a stopped instance stays on record because ZooKeeper still announces it: longer than Dubbo's sessions."""


class Steps(Noun, frozen=True, kw_only=True):
    """What must be told to ZooKeeper, in this order."""

    switch_off: tuple[Announcement, ...] = ()
    withdraw: tuple[Announcement, ...] = ()
    switch_on: tuple[Announcement, ...] = ()


def places(instance: Instance) -> frozenset[Place]:
    """Where it can be announced: at its own address, or at its agent's where its ports are published."""
    found = {(instance.address, port) for port in instance.ports} | {
        (host, port) for host in (instance.address, instance.agent) for port in instance.host_ports
    }
    return frozenset((host, port) for host, port in found if host and port)


def steps(instances: Iterable[Instance], announced: Announced, in_hand: Collection[str] = ()) -> Steps:
    """From what stands in ZooKeeper to what shall. Switching off comes first: somebody waits for it. `in_hand`: ids of
    instances that leave by themselves, because their QoS was told to.

    What is switched off without an instance that leaves was left over by somebody who died, or its provider has stopped
    and its session has not ended: then it must not get calls again before it is gone. Told by its start, for another
    one may come to its place. What a process announces as a whole no configurator switches off: it is withdrawn. So is
    what has stopped at an address of its own, where nobody has come to its place: it may have connected anew in its
    last moment, and comes back no more. At a port of its machine there may be somebody whom nobody here knows.
    """
    leaving: set[Place] = set()
    stopped: set[Place] = set()
    by_themselves: set[Place] = set()
    staying: set[Place] = set()
    for one in instances:
        if one.phase in LEAVING:
            leaving |= places(one)
            by_themselves |= places(one) if one.id in in_hand else set()
        elif one.wanted:
            staying |= places(one)
        elif not any(one.host_ports):
            stopped |= places(one)
    off, there = set(announced.switched_off), set(announced.providers)
    told, dead = leaving - by_themselves, stopped - staying - leaving
    return Steps(
        switch_off=_ordered(one for one in there - off if one.place in told and not one.process),
        withdraw=_ordered(one for one in there if one.place in told | dead),
        switch_on=_ordered(
            one for one in off if one.place not in leaving and (one.place in staying | dead or one not in there)
        ),
    )


def back(instances: Iterable[Instance], switched_on: Collection[Announcement]) -> tuple[Instance, ...]:
    """The instances that serve and are switched on again: what was withdrawn of them does not come back by itself."""
    found = {one.place for one in switched_on}
    return tuple(one for one in instances if one.phase == "serving" and places(one) & found)


def _ordered(found: Iterable[Announcement]) -> tuple[Announcement, ...]:
    return tuple(sorted(found, key=lambda one: (one.host, one.port, str(one.export), one.started, one.process)))


def as_whole(process: Process, provided: Iterable[Provided] | None) -> tuple[Announcement, ...]:
    """What a process announces as a whole. `provided`: its application's metadata; None: not known, and then it is the
    application that it announces, which those that follow it have to announce as well."""
    if provided is None:
        return tuple(
            Announcement(
                export=Export(interface=process.application), host=process.host, port=port, process=process.application
            )
            for port in sorted(set(process.ports.values()))
        )
    found = {
        Announcement(export=one.export, host=one.host, port=one.port, process=process.application)
        for each in provided
        for one in announced_as(process, each.interface, (each,))
    }
    return _ordered(found)


def provides(instance: Instance, announced: Announced) -> frozenset[Export]:
    """What ZooKeeper has of an instance. Of a process that is announced as a whole its application too: who follows
    such ones alone does not see what is announced interface by interface."""
    here = places(instance)
    found = [one for one in announced.providers if one.place in here]
    wholes = frozenset(Export(interface=one.process) for one in found if one.process)
    return frozenset(one.export for one in found) | wholes


def waits_for(instance: Instance, expected: Collection[Export], announced: Announced) -> str:
    """What its acknowledgement waits for, in words; empty when ZooKeeper says of it what its phase means. `expected`:
    what it has to announce; nothing: anything at all."""
    here = places(instance)
    found = provides(instance, announced)
    if instance.phase not in IN_ROTATION:
        return f"ZooKeeper still sends consumers there for {_listed(found)}" if found else ""
    off = {one.export for one in announced.switched_off if one.place in here}
    if off:
        return f"it is still switched off in ZooKeeper for {_listed(off)}"
    missing = frozenset(expected) - found
    if missing:
        return f"it has not announced {_listed(missing)} in ZooKeeper"
    return "" if found else "it has not announced any interface in ZooKeeper"


def _listed(exports: Collection[Export]) -> str:
    names = sorted(map(str, exports))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def expected(
    named: Collection[Export], remembered: Collection[Export], others: Iterable[Instance], announced: Announced
) -> frozenset[Export]:
    """What a new instance has to announce: what its definition names, else what those that serve do; where none serves,
    what the last ones did."""
    if named:
        return frozenset(named)
    return served(others, announced) or frozenset(remembered)


def served(instances: Iterable[Instance], announced: Announced) -> frozenset[Export]:
    """What those that serve provide together."""
    found: frozenset[Export] = frozenset()
    for one in instances:
        if one.phase == "serving":
            found |= provides(one, announced)
    return found


def lingers(instance: Instance, announced: Announced) -> bool:
    """Whether ZooKeeper still has anything of an instance that has stopped."""
    here = places(instance)
    return any(one.place in here for one in (*announced.providers, *announced.switched_off))


def calls(open_connections: Mapping[Place, int | None]) -> int | None:
    """How many calls an instance has in flight, by the connections that are open to each of its places: none where
    there is none. A connection that is open may carry a call or none, so that nobody can say; nor where they cannot be
    seen."""
    return 0 if open_connections and all(count == 0 for count in open_connections.values()) else None
