"""self_registration: apps that register themselves: which registration is whose, and what it says of its instance.

A registration never is an endpoint of its own: the rotation has one for each instance, and its registration only says
whether that gets traffic. So nothing is in rotation twice, whoever else registers it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from coldchain.decisions import rotation as rotations
from coldchain.decisions.health import Verdict, passed_before
from coldchain.decisions.registration import RANK, registration_id
from coldchain.model.app import App
from coldchain.model.instance import Instance
from coldchain.model.registration import ServiceEndpoint

IN_SERVICE = ("passing", "warning")
CANNOT = b"coldchain-entry: nothing is registered:"
"""So begins what an entry says, at its start, that finds nothing to speak with."""
GIVEN = re.compile(r"[0-9a-f]{32}")
"""The ids of instances."""


def by_itself(instance: Instance, app: App) -> bool:
    """Whether it is in rotation by a registration of its own."""
    return app.registers_itself and not instance.cannot_register


def unheard(instances: Iterable[tuple[Instance, App]], matches: Mapping[str, ServiceEndpoint]) -> tuple[Instance, ...]:
    """Those that run and have not registered themselves: what they say is worth a look."""
    return tuple(
        one for one, app in instances if one.phase == "starting" and by_itself(one, app) and one.id not in matches
    )


def cannot_register(said: bytes) -> bool:
    """Whether that is what it says at its start."""
    return any(line.startswith(CANNOT) for line in said.splitlines())


def matched(
    service: str,
    instances: Iterable[tuple[Instance, App]],
    found: Iterable[ServiceEndpoint],
    doubted: Collection[str] = (),
) -> dict[str, ServiceEndpoint]:
    """The registration of each instance in its service that has one, by the instance's id. It has the id that the
    instance was given for it; or it has another, and stands where the instance does: then the best one counts.

    An id that was given to one instance never counts for another, which may have its address by now, also when that
    one is gone. What is `doubted` to be there may be of who had the address before, and lets nobody in.
    """
    listed = list(instances)
    best = sorted(found, key=lambda one: (RANK.index(one.status), one.id))
    given = {one.id: one for one in best}
    own = {one.id: given.get(registration_id(service, one.id)) for one, _ in listed}
    result = {name: registration for name, registration in own.items() if registration is not None}
    ids = {registration_id(service, one.id) for one, _ in listed}
    at: dict[tuple[str, int], ServiceEndpoint] = {}
    for one in best:
        if one.id not in ids and not GIVEN.fullmatch(one.id.removeprefix(registration_id(service, ""))):
            at.setdefault((one.address, one.port), one)
    taken: set[str] = set()
    for instance, app in sorted(listed, key=lambda pair: pair[0].id):
        for place in _places(service, instance, app) if instance.id not in result else ():
            registration = at.get(place)
            if registration is None or (registration.id in doubted and not passed_before(instance)):
                continue
            if registration.id not in taken:
                result[instance.id] = registration
                taken.add(registration.id)
                break
    return result


def _places(service: str, instance: Instance, app: App) -> Iterator[tuple[str, int]]:
    """Where it can be reached: at its own address, and on its agent where a port is published."""
    index = rotations.services(app).get(service)
    if index is None:
        return
    if instance.address is not None and index < len(instance.ports):
        yield instance.address, instance.ports[index]
    if instance.agent is not None and index < len(instance.host_ports) and instance.host_ports[index]:
        yield instance.agent, instance.host_ports[index]


def heard(instance: Instance, verdict: Verdict, service: str, matches: Mapping[str, ServiceEndpoint] | None) -> Verdict:
    """What the checks say of it, and its own registration with them. `matches`: of its service; None while the registry
    has said nothing since the start: then who has passed before is held for well."""
    passed = passed_before(instance)
    if matches is None:
        return verdict if passed else _waits(verdict, f"the registry has not said who is in service {service}")
    found = matches.get(instance.id)
    if found is not None and found.status in IN_SERVICE:
        return verdict
    if found is not None and found.status == "maintenance":
        words = f"its registration in service {service} is in maintenance"
        return msgspec.structs.replace(verdict, standing="unhealthy", marked=True, detail=_also(words, verdict))
    if not passed:
        words = "it has not registered itself in" if found is None else "it is not passing yet in"
        return _waits(verdict, f"{words} service {service}")
    words = "it is no longer registered in" if found is None else "it has sent no heartbeat, or a bad one, to"
    return msgspec.structs.replace(verdict, standing="unhealthy", detail=_also(f"{words} service {service}", verdict))


def _waits(verdict: Verdict, words: str) -> Verdict:
    standing = verdict.standing if verdict.standing == "unhealthy" else "unknown"
    return msgspec.structs.replace(verdict, standing=standing, detail=_also(words, verdict))


def _also(words: str, verdict: Verdict) -> str:
    return f"{words}; {verdict.detail}" if verdict.detail else words


def unmarked(instances: Iterable[Instance], matches: Mapping[str, ServiceEndpoint]) -> tuple[str, ...]:
    """The registrations that must be put out of service, because their instances leave, by their ids."""
    leaving = [one.id for one in instances if one.phase in rotations.LEAVING]
    known = [matches[name] for name in leaving if name in matches]
    return tuple(sorted(one.id for one in known if one.status != "maintenance"))
