"""infos: Mesos's documents of our framework, executors and tasks, as values. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from coldchain.documents.executor_messages import encode, identified
from coldchain.engines.mesos.resources import ALL, Amounts, documents, single
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.model.app import App
from coldchain.model.executor import ExecutorSettings, TaskDescription
from coldchain.model.task import TaskSpec

Document = dict[str, Any]
CAPABILITIES = ("MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE", "REGION_AWARE", "RESERVATION_REFINEMENT")
NANOSECONDS = 1_000_000_000


def framework_info(settings: MesosSettings, framework_id: str) -> Document:
    """`framework_id` empty: a new one."""
    info: Document = {
        "user": settings.user,
        "name": settings.name,
        "roles": list(settings.roles),
        "checkpoint": True,
        "failover_timeout": settings.failover_seconds,
        "capabilities": [{"type": capability} for capability in CAPABILITIES],
    }
    if settings.principal:
        info["principal"] = settings.principal
    if settings.webui_url:
        info["webui_url"] = settings.webui_url
    if framework_id:
        info["id"] = {"value": framework_id}
    return info


def executor_info(
    settings: MesosSettings,
    executor: ExecutorSettings,
    key: bytes,
    framework_id: str,
    agent_id: str,
    resources: Sequence[Document],
) -> Document:
    """The same for the same agent, framework, resources and settings: Mesos refuses tasks whose executor differs."""
    command: Document = {
        "shell": False,
        "value": settings.executor_command[0],
        "arguments": list(settings.executor_command),
    }
    if settings.executor_environment:
        variables = [{"name": name, "value": value} for name, value in sorted(settings.executor_environment.items())]
        command["environment"] = {"variables": variables}
    info = {
        "type": "CUSTOM",
        "framework_id": {"value": framework_id},
        "name": "coldchain executor",
        "source": "coldchain",
        "command": command,
        "resources": list(resources),
    }
    return identified(info, executor, key, agent_id)


def executor_version(settings: MesosSettings, executor: ExecutorSettings, key: bytes) -> str:
    """Of all that executors are made of, whatever their agent and the role that pays for them: where it differs they
    are another version."""
    info = executor_info(settings, executor, key, "", "", documents(settings.executor, ALL, ()))
    return str(info["executor_id"]["value"])


def task_info(
    spec: TaskSpec, mesos_id: str, agent_id: str, executor: Document, resources: Sequence[Document], *, adopts: bool
) -> Document:
    """`spec` whole, with variables."""
    return {
        "name": spec.app_id,
        "task_id": {"value": mesos_id},
        "agent_id": {"value": agent_id},
        "executor": executor,
        "resources": list(resources),
        "data": encode(TaskDescription(spec=spec, adopts=adopts)),
        "kill_policy": kill_policy(spec.app.task_kill_grace_period_seconds),
    }


def kill_policy(grace_seconds: float) -> Document:
    return {"grace_period": {"nanoseconds": round(grace_seconds * NANOSECONDS)}}


def next_mesos_id(mesos_id: str) -> str:
    """Of the successor, as Marathon counts: the last part of an id is the number of its incarnation."""
    head, separator, number = mesos_id.rpartition(".")
    return f"{head}.{int(number) + 1}" if separator and number.isdigit() else f"{mesos_id}.2"


def amounts_of(spec: TaskSpec) -> Amounts:
    app = spec.app
    return Amounts(cpus=app.cpus, mem=app.mem, disk=app.disk, gpus=float(app.gpus), ports=single(spec.host_ports))


def reserved_for(app: App) -> tuple[str, ...]:
    """Out of which reservations it may have its resources: its own before what is for all."""
    return tuple(sorted(app.offered_roles, key=lambda role: (role == ALL, role)))


def kept_spec(spec: TaskSpec) -> TaskSpec:
    """What of a task is kept: what says what it takes and how it ends, and nothing that could be secret."""
    app = spec.app
    kept = App(
        id=app.id,
        cpus=app.cpus,
        mem=app.mem,
        disk=app.disk,
        gpus=app.gpus,
        container=app.container,
        networks=app.networks,
        port_definitions=app.port_definitions,
        role=app.role,
        accepted_resource_roles=app.accepted_resource_roles,
        task_kill_grace_period_seconds=app.task_kill_grace_period_seconds,
        unreachable_strategy=app.unreachable_strategy,
        target=app.target,
    )
    return msgspec.structs.replace(spec, app=kept)
