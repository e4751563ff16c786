"""The environment of a task, as Marathon gives it to its tasks."""

import ipaddress
import math
import re
from collections.abc import Sequence

from coldchain.decisions import rotation as rotations
from coldchain.decisions.registration import registration_id, tags
from coldchain.model.app import App, PortDefinition
from coldchain.model.task import TaskSpec

LABEL_PREFIX = "MARATHON_APP_LABEL_"
VALUE_LENGTH_MAX = 512
NAME_LENGTH_MAX = VALUE_LENGTH_MAX - len(LABEL_PREFIX)

TTL_SECONDS = 15
"""Of the check of an app that registers itself: it sends a heartbeat each third of it."""
GRACE_KEPT_SECONDS = 2.0
"""Of the grace, for who ends the app after it to take the registration away before the platform ends him too."""


def task_environment(spec: TaskSpec, ports: Sequence[int]) -> dict[str, str]:
    """All variables by name; `ports` are the task's own in the app's order. What the user set wins."""
    app = spec.app
    environment = {
        "HOST": spec.agent,
        "MESOS_TASK_ID": spec.task_id,
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": spec.version_id,
        "MARATHON_APP_RESOURCE_CPUS": f"{app.cpus:g}",
        "MARATHON_APP_RESOURCE_MEM": f"{app.mem:g}",
        "MARATHON_APP_RESOURCE_DISK": f"{app.disk:g}",
        "MARATHON_APP_RESOURCE_GPUS": str(app.gpus),
    }
    if app.container is not None:
        environment["MARATHON_APP_DOCKER_IMAGE"] = app.container.docker.image
    environment |= registration_variables(spec, ports)
    return environment | label_variables(app.labels) | port_variables(app, ports, spec.host_ports) | app.env


def registration_variables(spec: TaskSpec, ports: Sequence[int]) -> dict[str, str]:
    """COLDCHAIN_…: all that an app needs to register itself and to leave in order; nothing for other apps. The address
    is left open where only the task can know it."""
    app = spec.app
    services = rotations.services(app)
    if not app.registers_itself or not services:
        return {}
    [(service, index)] = list(services.items())[:1]
    inside = ports[index] if index < len(ports) else 0
    published = index < len(spec.host_ports) and spec.host_ports[index] and app.network.mode != "host"
    variables = {
        "COLDCHAIN_REGISTRY": registry_for(spec.registry, spec.agent, shares_network=app.network.mode == "host"),
        "COLDCHAIN_SERVICE": service,
        "COLDCHAIN_SERVICE_ID": registration_id(service, spec.instance_id),
        "COLDCHAIN_SERVICE_PORT": str(spec.host_ports[index] if published and not spec.address else inside),
        "COLDCHAIN_SERVICE_TAGS": " ".join(tags(app)),
        "COLDCHAIN_APP": spec.app_id,
        "COLDCHAIN_VERSION": spec.version_id,
        "COLDCHAIN_INSTANCE": spec.instance_id,
        "COLDCHAIN_HEALTH_PORT": str(inside),
        "COLDCHAIN_TTL_SECONDS": f"{TTL_SECONDS}",
        "COLDCHAIN_SETTLE_SECONDS": str(math.ceil(app.settle_seconds)),
        "COLDCHAIN_GRACE_SECONDS": str(max(1, math.floor(app.task_kill_grace_period_seconds - GRACE_KEPT_SECONDS))),
    }
    address = spec.address or (spec.agent if published else "")
    return variables | ({"COLDCHAIN_SERVICE_ADDRESS": address} if address else {})


def registry_for(registry: str, agent: str, *, shares_network: bool) -> str:
    """The registry's HOST:PORT as a task on that agent reaches it. On loopback it is the Consul agent of the task's own
    machine, which a container with a network of its own finds at $HOST."""
    host, _, port = registry.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        beside = host == "localhost"
    else:
        beside = address.is_loopback or address.is_unspecified
    if not registry or not beside or (shares_network and not host.startswith(("0.0.0.0", "[::]"))):  # noqa: S104
        return registry
    return f"{agent}:{port}"


def port_variables(app: App, ports: Sequence[int], host_ports: Sequence[int]) -> dict[str, str]:
    """PORT, PORTS, PORT0…, PORT_<declared number>, PORT_<NAME>: the port on the agent where one is published, else
    the task's own."""
    reached = [
        host_ports[index] if index < len(host_ports) and host_ports[index] else port for index, port in enumerate(ports)
    ]
    if not reached:
        return {}
    variables = {"PORT": str(reached[0]), "PORTS": ",".join(map(str, reached))}
    for index, (port, (asked, name)) in enumerate(zip(reached, declared_ports(app, len(reached)), strict=True)):
        variables[f"PORT{index}"] = str(port)
        variables[f"PORT_{asked or port}"] = str(port)
        if name:
            variables[f"PORT_{name.upper()}"] = str(port)
    return variables


def declared_ports(app: App, count: int) -> list[tuple[int, str | None]]:
    """Number (0 where the user left it open) and name of the app's first `count` ports, as the user declared them."""
    declared = [
        (port.port if isinstance(port, PortDefinition) else port.container_port, port.name) for port in app.ports
    ]
    return [*declared, *[(0, None)] * count][:count]


def label_variables(labels: dict[str, str]) -> dict[str, str]:
    """MARATHON_APP_LABELS lists the names; names and values that are too long for an environment are left out."""
    variables = {
        re.sub(r"[^a-zA-Z0-9_]+", "_", name).upper(): value
        for name, value in labels.items()
        if len(name) < NAME_LENGTH_MAX and len(value) < VALUE_LENGTH_MAX
    }
    return {"MARATHON_APP_LABELS": " ".join(variables)} | {
        LABEL_PREFIX + name: value for name, value in variables.items()
    }
