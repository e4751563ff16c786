"""TaskSpec → the Engine API's container document, as a value; nothing here waits or asks."""

import hashlib
import math
import re
from typing import Any

from coldchain.decisions.address import published_port, task_ports
from coldchain.decisions.docker_options import is_network
from coldchain.decisions.task_environment import task_environment
from coldchain.model.app import App, Container, Network, ResourceLimits
from coldchain.model.errors import InvalidDocument, Rejected
from coldchain.model.task import TaskSpec
from coldchain.runners.docker.parameters import apply_parameters, unknown_parameters
from coldchain.runners.docker.settings import DockerSettings

CONTROLLER = "coldchain.controller"
TARGET = "coldchain.target"
AGENT = "coldchain.agent"
INSTANCE = "coldchain.instance"
TASK = "coldchain.task"
APP = "coldchain.app"
VERSION = "coldchain.version"
ADDRESS = "coldchain.address"
PORTS = "coldchain.ports"
HOST_PORTS = "coldchain.host-ports"

MIB = 1024 * 1024
NANO = 1_000_000_000
CPU_SHARES_PER_CPU = 1024
CPU_SHARES_MIN = 2
"""The kernel's smallest share."""


def container_name(task_id: str) -> str:
    """The task's id where Docker allows it as a name, else made safe and still unique."""
    safe = re.sub(r"[^a-zA-Z0-9_.-]", "-", task_id)
    if safe == task_id and re.match(r"[a-zA-Z0-9].", safe):
        return safe
    return f"task-{safe.strip('-.')}-{hashlib.sha256(task_id.encode()).hexdigest()[:12]}"


def network_name(network: Network, settings: DockerSettings) -> str:
    """What Docker calls the app's network. Raises Rejected for a name that would mean something else to Docker."""
    if network.mode == "host":
        return "host"
    if network.mode == "container/bridge" or network.name is None:
        return settings.network
    if not is_network(network.name):
        raise Rejected(f"{network.name!r} is not the name of a container network", todo="Name one in `networks`")
    return network.name


def container_document(spec: TaskSpec, controller_id: str, settings: DockerSettings) -> dict[str, Any]:
    """The body of `POST /containers/create`. Raises Rejected for what cannot be run."""
    container = spec.app.container
    if container is None:
        raise Rejected(f"{spec.app_id} has no container", todo="Give `container.docker.image`")
    if problems := unknown_parameters(spec.app):
        raise Rejected(str(InvalidDocument(problems)), todo="Correct the docker parameters of the app")
    ports = task_ports(spec)
    network = network_name(spec.app.network, settings)
    document: dict[str, Any] = {
        "Image": spec.image or container.docker.image,
        "Env": [f"{name}={value}" for name, value in sorted(task_environment(spec, ports).items())],
        "Labels": {},
        "HostConfig": _host_config(spec, container, network, settings),
        "Tty": spec.app.tty,
    } | ({"User": spec.app.user} if spec.app.user is not None else {})
    if spec.app.cmd is not None:
        # As Mesos does: a command line is for the shell, whatever the image's own entry point is.
        document |= {"Entrypoint": ["/bin/sh"], "Cmd": ["-c", spec.app.cmd]}
    elif spec.app.args is not None:
        document["Cmd"] = list(spec.app.args)
    if network != "host":
        # A network by name gives the address itself: nobody here knows which are free in it.
        wanted = spec.address if not spec.app.network.by_name else None
        endpoint = {"IPAMConfig": {"IPv4Address": wanted}} if wanted else {}
        document["NetworkingConfig"] = {"EndpointsConfig": {network: endpoint}}
        document["ExposedPorts"], document["HostConfig"]["PortBindings"] = _published(
            spec, container, ports, settings.publish_address
        )
    apply_parameters(document, container.docker.parameters)
    host_config = document["HostConfig"]
    host_config["CapDrop"] = [name for name in host_config["CapDrop"] if name not in host_config.get("CapAdd", ())]
    # Ours last: a user's label never makes a container another controller's, or another task.
    document["Labels"] |= _labels(spec, controller_id, ports, settings)
    return document


def _host_config(spec: TaskSpec, container: Container, network: str, settings: DockerSettings) -> dict[str, Any]:
    return {
        "NetworkMode": network,
        "CpuShares": max(CPU_SHARES_MIN, math.floor(spec.app.cpus * CPU_SHARES_PER_CPU)),
        **_limits(spec.app),
        "PidsLimit": settings.pids_max,
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": ["NET_RAW"],
        "Privileged": container.docker.privileged,
        "Init": False,
        "RestartPolicy": {"Name": "no"},
        "Mounts": [
            {"Type": "bind", "Source": one.host_path, "Target": one.container_path, "ReadOnly": one.mode == "RO"}
            for one in container.volumes
        ],
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": f"{settings.log_file_mib}m", "max-file": str(settings.log_files)},
        },
    }


def _limits(app: App) -> dict[str, int]:
    """Memory is limited always, to what the app has unless it says otherwise; processor time only if it says so. With a
    limit beyond it, what the app has is what it keeps when memory is short."""
    limits = app.resource_limits or ResourceLimits()
    mem = app.mem if limits.mem is None else limits.mem
    memory = 0 if mem == "unlimited" else int(mem * MIB)
    values = {"Memory": memory, "MemorySwap": memory}
    if limits.mem is not None:
        values["MemoryReservation"] = int(app.mem * MIB)
    if isinstance(limits.cpus, float):
        values["NanoCpus"] = int(limits.cpus * NANO)
    return values


def _published(
    spec: TaskSpec, container: Container, ports: tuple[int, ...], publish_address: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Exposed ports and port bindings."""
    exposed: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for index, mapping in enumerate(container.port_mappings):
        for protocol in mapping.protocol.split(","):
            key = f"{ports[index]}/{protocol}"
            exposed[key] = {}
            if host_port := published_port(spec, index):
                bindings.setdefault(key, []).append({"HostIp": publish_address, "HostPort": str(host_port)})
    return exposed, bindings


def _labels(spec: TaskSpec, controller_id: str, ports: tuple[int, ...], settings: DockerSettings) -> dict[str, str]:
    address, reached = _reached(spec, ports, settings)
    labels = {
        CONTROLLER: controller_id,
        TARGET: spec.target,
        AGENT: spec.agent,
        INSTANCE: spec.instance_id,
        TASK: spec.task_id,
        APP: spec.app_id,
        VERSION: spec.version_id,
        PORTS: ",".join(map(str, reached)),
        HOST_PORTS: ",".join(map(str, spec.host_ports)),
    }
    return labels | ({ADDRESS: address} if address else {})


def _reached(spec: TaskSpec, ports: tuple[int, ...], settings: DockerSettings) -> tuple[str | None, tuple[int, ...]]:
    """Where probes and gateways reach it; None: at the address that its network gives it, by its own ports."""
    network = spec.app.network
    if network.mode == "host":
        return settings.host_address, ports
    if network.by_name:
        return None, ports
    published = tuple(published_port(spec, index) for index in range(len(ports)))
    if settings.reached_by_host_ports and ports and all(published):
        return settings.publish_address, published
    return spec.address, ports
