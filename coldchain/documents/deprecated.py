"""deprecated: the old forms of Marathon's fields, which its clients still write, put into their new ones; and what an
answer has beside the definition left out, so that a client may send back what it has read."""

from typing import Any

from coldchain.documents.findings import Findings, Path, shown

Given = dict[str, Any]

_ANSWERED = """
    version versionInfo tasks tasksStaged tasksRunning tasksHealthy tasksUnhealthy tasksServing deployments
    lastTaskFailure readinessCheckResults taskStats resolvedImage overrides
"""
ANSWERED = frozenset(_ANSWERED.split())
"""What answers have beside the definition: it asks for nothing."""
EXECUTORS = ("", "//cmd")
MODES = {"BRIDGE": "container/bridge", "HOST": "host", "USER": "container"}
VOLUMES = {
    "persistent": "volumes that stay on their agent are not there yet: give hostPath",
    "external": "volumes of other systems are not there yet: give hostPath",
    "secret": 'secrets are not there as files yet: give them to env, as {"secret": NAME}',
}


def modernised(given: Given, findings: Findings) -> Given:
    """The definition in its new form. Where old and new form both stand and say the same, the old one is passed over;
    where they do not, both are named in `findings`, which learns what stands where in the reader's document."""
    document = {name: member for name, member in given.items() if name not in ANSWERED}
    _without_executor(document, findings)
    _store_urls(document, findings)
    _uris(document, findings)
    if isinstance(document.get("container"), dict):
        document["container"] = dict(document["container"])
        _container(document, findings)
    _docker_port_mappings(document, findings)
    _networks(document, findings)
    _network_names(document, findings)
    _ports(document, findings)
    return document


def replaced_by(patch: Given) -> set[str]:
    """The fields whose old form a partial update gives: what they were is replaced."""
    container = patch.get("container")
    docker = container.get("docker") if isinstance(container, dict) else None
    gone = {new for old, new in (("uris", "fetch"), ("ports", "portDefinitions")) if patch.get(old) is not None}
    if patch.get("ipAddress") is not None or (isinstance(docker, dict) and docker.get("network") is not None):
        gone.add("networks")
    return gone


def _both(findings: Findings, old: Path, new: str) -> None:
    findings.report(old, f"says something else than {new}, its new form: give one of the two")


def _without_executor(document: Given, findings: Findings) -> None:
    executor = document.pop("executor", None)
    if executor is not None and executor not in EXECUTORS:
        reason = f"must be empty or //cmd, not {shown(executor)}: tasks are run by Coldchain's own runners"
        findings.report(("executor",), reason)


def _store_urls(document: Given, findings: Findings) -> None:
    if document.pop("storeUrls", None):
        findings.report(("storeUrls",), "is taken away, as in Marathon: list what a process brings along in fetch")


def _uris(document: Given, findings: Findings) -> None:
    uris = document.pop("uris", None)
    if uris is None:
        return
    if not isinstance(uris, list | tuple) or not all(isinstance(uri, str) for uri in uris):
        findings.report(("uris",), "must be an array of addresses, or rather be written as fetch")
    elif not document.get("fetch"):
        document["fetch"] = [{"uri": uri} for uri in uris]
        findings.renamed[("fetch",)] = ("uris",)
    elif uris and uris != [one.get("uri") for one in _objects(document["fetch"])]:
        _both(findings, ("uris",), "fetch")


def _container(document: Given, findings: Findings) -> None:
    container = document["container"]
    if container.get("type") == "MESOS":
        if not any(container.get(name) for name in ("docker", "volumes", "portMappings", "appc")):
            del document["container"]  # what Marathon makes of a command without a container
            return
        reason = "must be DOCKER: Mesos's own containers are not there yet, and Docker runs the same images"
        findings.report(("container", "type"), reason, "DOCKER")
        container["type"] = "DOCKER"
        if container.get("docker") is None:
            container["docker"] = {"image": "scratch"}  # so that the rest can be looked at
    volumes = container.get("volumes")
    if isinstance(volumes, list | tuple):
        container["volumes"] = [
            _volume(one, ("container", "volumes", position), findings) for position, one in enumerate(volumes)
        ]


def _volume(volume: Any, where: Path, findings: Findings) -> Any:
    kinds = [kind for kind in VOLUMES if isinstance(volume, dict) and volume.get(kind) is not None]
    if not kinds:
        return volume
    for kind in kinds:
        findings.report((*where, kind), VOLUMES[kind])
    rest = {name: member for name, member in volume.items() if name not in VOLUMES}
    return {"hostPath": "/", "containerPath": "/unread"} | rest


def _docker_port_mappings(document: Given, findings: Findings) -> None:
    """`container.docker.portMappings`. In the old form a port of a bridge that names no host port had any one."""
    docker = _docker_of(document)
    mappings = docker.pop("portMappings", None)
    if mappings is None:
        return
    old: Path = ("container", "docker", "portMappings")
    if not isinstance(mappings, list | tuple):
        findings.report(old, "must be an array, or rather be written as container.portMappings")
        return
    if str(docker.get("network")).upper() == "BRIDGE":
        mappings = [
            one | {"hostPort": 0} if isinstance(one, dict) and one.get("hostPort") is None else one for one in mappings
        ]
    container = document["container"]
    if not container.get("portMappings"):
        container["portMappings"] = mappings
        findings.renamed[("container", "portMappings")] = old
    elif mappings and _plain(mappings) != _plain(container["portMappings"]):
        _both(findings, old, "container.portMappings")


def _plain(mappings: Any) -> list[Given]:
    usual: Given = {
        "containerPort": 0,
        "hostPort": None,
        "servicePort": 0,
        "protocol": "tcp",
        "name": None,
        "labels": {},
    }
    return [usual | {k: v for k, v in one.items() if v is not None} for one in _objects(mappings)]


def _networks(document: Given, findings: Findings) -> None:
    """`container.docker.network` and `ipAddress`, of which each says a part."""
    docker = _docker_of(document)
    mode, address = docker.pop("network", None), document.pop("ipAddress", None)
    old: Path = ("container", "docker", "network") if mode is not None else ("ipAddress",)
    if mode is not None and str(mode).upper() not in MODES:
        reason = f"must be one of {', '.join(MODES)}, not {shown(mode)}: an app without a network cannot be reached"
        findings.report(old, reason)
        return
    if address is not None and not isinstance(address, dict):
        findings.report(("ipAddress",), "must be an object, or rather be written as networks")
        return
    if address is not None:
        _discovery(document, address, findings)
    if mode is None and address is None:
        return
    network: Given = {"mode": MODES[str(mode).upper()] if mode is not None else "container"}
    name, labels = (address or {}).get("networkName"), (address or {}).get("labels")
    if network["mode"] == "container" and name is not None:
        network["name"] = name
    if network["mode"] != "host" and labels:
        network["labels"] = labels
    if not document.get("networks"):
        document["networks"] = [network]
        findings.renamed[("networks",)] = old
        for new, known in (("name", "networkName"), ("labels", "labels")):
            findings.renamed[("networks", 0, new)] = ("ipAddress", known)
    elif list(map(_said_of_network, _objects(document["networks"]))) != [_said_of_network(network)]:
        _both(findings, old, "networks")


def _said_of_network(network: Given) -> tuple[Any, Any, Any]:
    return _mode_of(network), network.get("name"), network.get("labels") or {}


def _mode_of(network: Given) -> Any:
    return network.get("mode") or "container"


def _discovery(document: Given, address: Given, findings: Findings) -> None:
    for name in address:
        if name == "groups" and address[name]:
            findings.report(("ipAddress", name), "is a field of Marathon's that Coldchain does not have yet")
        elif name not in ("groups", "labels", "discovery", "networkName"):
            findings.report(("ipAddress", name), "is not a field of this object")
    discovery = address.get("discovery")
    if discovery and not isinstance(discovery, dict):
        findings.report(("ipAddress", "discovery"), "must be an object with the ports")
        return
    ports = (discovery or {}).get("ports")
    if not ports:
        return
    old: Path = ("ipAddress", "discovery", "ports")
    container = document.get("container")
    if not isinstance(ports, list | tuple) or len(_objects(ports)) < len(ports):
        findings.report(old, "must be an array of objects, or rather be written as container.portMappings")
        return
    if not isinstance(container, dict):
        findings.report(old, "needs a container: a process lists its ports in portDefinitions")
        return
    mappings = [
        {"containerPort" if name == "number" else name: member for name, member in one.items()} for one in ports
    ]
    if not container.get("portMappings"):
        container["portMappings"] = mappings
        findings.renamed[("container", "portMappings")] = old
    elif _plain(mappings) != _plain(container["portMappings"]):
        _both(findings, old, "container.portMappings")


def _network_names(document: Given, findings: Findings) -> None:
    """`networkNames` of a port: with one network it says nothing."""
    networks = document.get("networks")
    container = _container_of(document)
    mappings = container.get("portMappings")
    if not isinstance(mappings, list | tuple):
        return
    known = [one.get("name") for one in _objects(networks)]
    kept: list[Any] = []
    for position, mapping in enumerate(mappings):
        names = mapping.get("networkNames") if isinstance(mapping, dict) else None
        if names and names != known[:1]:
            where = ("container", "portMappings", position, "networkNames")
            findings.report(where, "must name the one network that the app joins, or be left out")
        kept.append({k: v for k, v in mapping.items() if k != "networkNames"} if isinstance(mapping, dict) else mapping)
    container["portMappings"] = kept


def _ports(document: Given, findings: Findings) -> None:
    """`ports`; and in a network that is not the machine's also `portDefinitions`, where both are the service ports."""
    ports = document.pop("ports", None)
    if ports is not None and not (isinstance(ports, list | tuple) and all(type(port) is int for port in ports)):
        findings.report(("ports",), "must be an array of whole numbers, or rather be written as portDefinitions")
        return
    definitions = document.get("portDefinitions")
    if _in_host_network(document):
        if ports is None:
            return
        if definitions is None:
            document["portDefinitions"] = [{"port": port} for port in ports]
            findings.renamed[("portDefinitions",)] = ("ports",)
        elif ports and list(ports) != [one.get("port") or 0 for one in _objects(definitions)]:
            _both(findings, ("ports",), "portDefinitions")
        return
    if ports and not _as_service_ports(document, list(ports)):
        findings.report(("ports",), "says other service ports than container.portMappings: leave it out")
    numbers = [one.get("port") or 0 for one in _objects(definitions)]
    if (
        isinstance(definitions, list | tuple)
        and len(numbers) == len(definitions)
        and _as_service_ports(document, numbers)
    ):
        del document["portDefinitions"]


def _as_service_ports(document: Given, ports: list[int]) -> bool:
    """Whether they are, or become, the service ports of the mappings, one by one."""
    container = _container_of(document)
    mappings = container.get("portMappings") or ()
    known = _objects(mappings)
    if not known or not len(known) == len(mappings) == len(ports) or not all(type(port) is int for port in ports):
        return False
    if any(one.get("servicePort") not in (None, 0, port) for one, port in zip(known, ports, strict=True)):
        return False
    container["portMappings"] = [one | {"servicePort": port} for one, port in zip(known, ports, strict=True)]
    return True


def _in_host_network(document: Given) -> bool:
    networks = _objects(document.get("networks"))
    return _mode_of(networks[0]) == "host" if networks else not document.get("container")


def _container_of(document: Given) -> Given:
    """The container, which may be changed; {} where there is none."""
    container = document.get("container")
    return container if isinstance(container, dict) else {}


def _docker_of(document: Given) -> Given:
    """What the definition says of Docker, as a copy that may be changed; {} where it says nothing."""
    container = _container_of(document)
    docker = container.get("docker")
    if not isinstance(docker, dict):
        return {}
    copy: Given = dict(docker)
    container["docker"] = copy
    return copy


def _objects(members: Any) -> list[Given]:
    return [one for one in members if isinstance(one, dict)] if isinstance(members, list | tuple) else []
