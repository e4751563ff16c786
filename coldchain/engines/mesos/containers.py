"""containers: tasks of agents whose own Docker containerizer runs them, in Mesos's documents and back. Pure.

What an app's fields mean there is what they mean to Marathon. Beside them stands what the docker runner gives every
container, so that admission's word holds on those agents too.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from coldchain.clients.mesos.events import Status
from coldchain.decisions.address import published_port, task_ports
from coldchain.decisions.mesos_task import Contained, Heard
from coldchain.decisions.task_environment import task_environment
from coldchain.engines.mesos.infos import kill_policy
from coldchain.engines.mesos.statuses import ENDED, SAID, SOURCE_EXECUTOR, STANDINGS, heard_of, words_of
from coldchain.model.app import App, Container, Network, ResourceLimits
from coldchain.model.errors import Rejected
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskSpec, TaskState

Document = dict[str, Any]
FLAGS = frozenset({"init", "read-only"})
"""Options that may be given without a value, which the command line of Docker wants to have."""
EXITED = re.compile(r"Container exited with status (\d+)")
"""In the words of Mesos's executor for Docker. An agent says the like of the programs that it runs itself."""


def container_task(
    spec: TaskSpec, mesos_id: str, agent_id: str, resources: Sequence[Document], *, pids_max: int
) -> Document:
    """TaskInfo without an executor: the agent starts Mesos's own. Raises Rejected for a port that nobody has chosen."""
    app = spec.app
    if app.container is None:
        raise Rejected(f"{spec.app_id} has no container", todo="Give `container.docker.image`")
    info: Document = {
        "name": spec.app_id,
        "task_id": {"value": mesos_id},
        "agent_id": {"value": agent_id},
        "resources": list(resources),
        "command": _command(spec),
        "container": _container(spec, app.container, pids_max),
        "labels": {"labels": [{"key": key, "value": value} for key, value in sorted(app.labels.items())]},
        "kill_policy": kill_policy(app.task_kill_grace_period_seconds),
    }
    limits = _limits(app.resource_limits or ResourceLimits())
    return info | ({"limits": limits} if limits else {})


def heard_of_container(task: MesosTask, status: Status, now: float, *, settled: bool = False) -> Heard:
    """What Mesos says of it: without an executor of ours that is all that there is."""
    if status.state in STANDINGS or (status.state not in ENDED and status.source != SOURCE_EXECUTOR):
        return heard_of(status, now, settled=settled)
    state: TaskState = SAID.get(status.state, "failed")
    if state == "finished" and task.kill_grace_seconds is not None:
        state = "killed"  # Mesos says of what was told to end and exits with 0 that it has finished
    at = min(now, status.timestamp if status.timestamp is not None else now)
    told = msgspec.structs.replace(task.told, state=state, at=at, message=status.message)
    if state == "running":  # of what is ending Mesos does not say any more where it is
        address, ports = _reached(task, status)
        told = msgspec.structs.replace(told, address=address, ports=ports)
    if status.state in ENDED:
        exited = EXITED.search(status.message)
        told = msgspec.structs.replace(
            told,
            address=None,
            ports=(),
            exit_status=int(exited[1]) if exited else None,
            message=status.message if status.source == SOURCE_EXECUTOR else words_of(status),
        )
    return Contained(status=told)


def _command(spec: TaskSpec) -> Document:
    app = spec.app
    variables = [
        {"name": name, "value": value} for name, value in sorted(task_environment(spec, task_ports(spec)).items())
    ]
    command: Document = {"shell": app.cmd is not None, "environment": {"variables": variables}}
    if app.cmd is not None:
        return command | {"value": app.cmd}
    return command | ({"arguments": list(app.args)} if app.args is not None else {})


def _container(spec: TaskSpec, container: Container, pids_max: int) -> Document:
    network = spec.app.network
    docker: Document = {
        "image": spec.image or container.docker.image,
        "network": "BRIDGE",
        "privileged": container.docker.privileged,
        "parameters": _parameters(spec.app, container, pids_max),
        "force_pull_image": container.docker.force_pull_image,
    }
    document: Document = {
        "type": "DOCKER",
        "docker": docker,
        "volumes": [
            {"container_path": one.container_path, "host_path": one.host_path, "mode": one.mode}
            for one in container.volumes
        ],
    }
    if network.mode == "host":
        docker["network"] = "HOST"
        return document
    docker["port_mappings"] = _port_mappings(spec, container)
    if network.by_name:
        docker["network"] = "USER"
        document["network_infos"] = [_network_info(network)]
    return document


def _network_info(network: Network) -> Document:
    info: Document = {"name": network.name}
    if network.labels:
        labels = [{"key": key, "value": value} for key, value in sorted(network.labels.items())]
        info["labels"] = {"labels": labels}
    return info


def _parameters(app: App, container: Container, pids_max: int) -> list[Document]:
    """The app's own come last: of those that are given twice the last one counts."""
    given = [(one.key, one.value or ("true" if one.key in FLAGS else "")) for one in container.docker.parameters]
    added = {value.upper().removeprefix("CAP_") for key, value in given if key == "cap-add"}
    own = [("security-opt", "no-new-privileges"), ("pids-limit", str(pids_max))]
    own += [("cap-drop", "NET_RAW")] if "NET_RAW" not in added else []
    own += [("user", app.user)] if app.user is not None else []
    return [{"key": key, "value": value} for key, value in (*own, *given)]


def _port_mappings(spec: TaskSpec, container: Container) -> list[Document]:
    """Of those ports that are published."""
    ports = task_ports(spec)
    return [
        {"host_port": host_port, "container_port": ports[index], "protocol": protocol}
        for index, mapping in enumerate(container.port_mappings)
        if (host_port := published_port(spec, index))
        for protocol in mapping.protocol.split(",")
    ]


def _limits(limits: ResourceLimits) -> Document:
    """What is beyond the resources of the task; agents since Mesos 1.10 know it."""
    given = {"cpus": limits.cpus, "mem": limits.mem}
    return {name: {"value": value} for name, value in given.items() if isinstance(value, float)}


def _reached(task: MesosTask, status: Status) -> tuple[str | None, tuple[int, ...]]:
    """Where probes and gateways reach it: in a network of its own at its own address; else at its agent's, by the ports
    that are published there. A bridge without such ports is reached on its machine only."""
    spec, agent = task.spec, urlsplit(task.agent_url).hostname
    if spec.app.network.mode == "host":
        return agent, spec.host_ports
    infos = status.container_status.network_infos if status.container_status is not None else ()
    own = next((one.ip_address for info in infos for one in info.ip_addresses if one.ip_address), None)
    if spec.app.network.name is None and any(spec.host_ports):
        return agent, spec.host_ports
    return own, task_ports(spec)
