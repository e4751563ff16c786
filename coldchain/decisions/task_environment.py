"""The environment of a task, as Marathon gives it to its tasks."""

import re
from collections.abc import Sequence

from coldchain.model.app import App, PortDefinition
from coldchain.model.task import TaskSpec

LABEL_PREFIX = "MARATHON_APP_LABEL_"
VALUE_LENGTH_MAX = 512
NAME_LENGTH_MAX = VALUE_LENGTH_MAX - len(LABEL_PREFIX)


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
    return environment | label_variables(app.labels) | port_variables(app, ports, spec.host_ports) | app.env


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
