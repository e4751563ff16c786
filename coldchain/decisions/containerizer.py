"""containerizer: what of an app Mesos's own Docker containerizer cannot do. Nothing of ours is on such agents, so that
nothing can be asked or done beside a task there."""

from coldchain.decisions.docker_options import is_network
from coldchain.model.app import App, PortMapping

BESIDE = frozenset({"COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"})
"""Protocols of health checks that are asked beside the task."""


def unsupported(app: App) -> tuple[str, ...]:
    """Why the app cannot run there, in words; nothing where it can."""
    found = [] if app.container is not None else ["it has no container"]
    beside = dict.fromkeys(one.protocol for one in app.health_checks if one.protocol in BESIDE)
    found += [f"health checks by {protocol} are asked beside the task" for protocol in beside]
    limits = app.resource_limits
    if limits is not None and "unlimited" in (limits.cpus, limits.mem):
        found.append("it has a limit `unlimited`")
    if app.gpus:
        found.append("it wants gpus")
    if app.tty:
        found.append("it wants a terminal")
    unchosen = [index for index, one in enumerate(_mappings(app)) if not one.container_port and one.host_port is None]
    found += [f"its port {index} has neither a container port nor a host port" for index in unchosen]
    if app.network.name is not None and not is_network(app.network.name):
        found.append(f"{app.network.name} is not the name of a network of Docker")
    return tuple(found)


def _mappings(app: App) -> tuple[PortMapping, ...]:
    return app.container.port_mappings if app.container is not None and app.network.mode != "host" else ()
