"""The rules of an app definition that one field's range cannot say: syntax of names, and what goes with what."""

import re
from collections.abc import Iterator

from coldchain.decisions.docker_options import is_network
from coldchain.documents.constraint_rules import constraint_findings
from coldchain.documents.dubbo_fields import dubbo_findings
from coldchain.documents.findings import Finding, Path, closest, shown
from coldchain.documents.gray_rules import gray_findings
from coldchain.documents.registration_rules import registration_findings
from coldchain.documents.resource_rules import resource_findings
from coldchain.documents.route_rules import LABEL, route_findings
from coldchain.model.app import App, Fetch, HealthCheck, ReadinessCheck

ID_SEGMENT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
ID_CHARACTERS_MAX = 200
NETWORK_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
ENTRY_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,254}")
USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
CONTAINER_USER = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?")
ADDRESS = re.compile(r"[!-~]+")
QUESTION = re.compile(r"/[!-~]*")
SECRET_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
DOCKER_MEM_MIN = 6
ENVIRONMENT_CHARACTERS_MAX = 1024 * 1024

IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
IMAGE = re.compile(
    r"(?:(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:\d))(?::\d{1,5})?/)?"
    r"(?P<path>[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*)"
    r"(?::\w[\w.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,128})?",
    re.ASCII,
)
IMAGE_CHARACTERS_MAX = 500


def app_findings(app: App) -> Iterator[Finding]:
    """Everything wrong with an app whose fields could be read (or have stand-ins) and were normalised."""
    yield from _id(app)
    yield from _names(app)
    yield from _command(app)
    yield from _environment(app)
    yield from _volumes(app)
    yield from _networks(app)
    yield from _ports(app)
    for position, check in enumerate(app.health_checks):
        yield from _health_check(app, check, ("healthChecks", position))
    yield from _readiness(app)
    for position, route in enumerate(app.routes):
        yield from _port_index(app, route.port_index, ("routes", position, "portIndex"))
    yield from route_findings(app)
    yield from registration_findings(app)
    yield from _rollout(app)
    yield from gray_findings(app)
    yield from constraint_findings(app)
    yield from resource_findings(app)
    yield from dubbo_findings(app)
    if app.dubbo is not None and app.dubbo.qos is not None and app.dubbo.qos.port_name is not None:
        yield from _port_name(app, app.dubbo.qos.port_name, ("dubbo", "qos", "portName"))
    for position, name in enumerate(app.dependencies):
        yield from _dependency(app, name, ("dependencies", position))


def _id(app: App) -> Iterator[Finding]:
    segments = app.id.removeprefix("/").split("/")
    if ".." in segments or "." in segments:
        yield Finding(("id",), "must be absolute: `..` and `.` stand for nothing here")
    elif not all(ID_SEGMENT.fullmatch(segment) for segment in segments):
        plain = re.sub(r"[^a-z0-9/.-]+", "-", app.id.lower()).strip("-/.")
        fits = plain and all(ID_SEGMENT.fullmatch(segment) for segment in plain.split("/"))
        yield Finding(
            ("id",),
            f"{shown(app.id)} is no id: parts of lower-case letters, digits, `-` and `.`, separated by single slashes,"
            " each beginning and ending with a letter or a digit",
            f"/{plain}" if fits and len(plain) <= ID_CHARACTERS_MAX else None,
        )
    if len(app.id) > ID_CHARACTERS_MAX:
        yield Finding(("id",), f"must have at most {ID_CHARACTERS_MAX} characters, not {len(app.id)}")


def _dependency(app: App, name: str, path: Path) -> Iterator[Finding]:
    if not is_id(name):
        yield Finding(path, f"{shown(name)} is no id of an app or a group")
    elif name == app.id:
        yield Finding(path, "is the app itself", needs=(("id",),))


def is_id(name: str) -> bool:
    """True for an absolute id, of an app or a group."""
    fits = name.startswith("/") and all(ID_SEGMENT.fullmatch(segment) for segment in name[1:].split("/"))
    return fits and len(name) <= ID_CHARACTERS_MAX


def _names(app: App) -> Iterator[Finding]:
    syntax = "must be 1 to 63 lower-case letters, digits and `-`, beginning and ending with a letter or a digit"
    if app.service is not None and not LABEL.fullmatch(app.service):
        yield Finding(("service",), syntax)
    elif app.service is None and app.service_name is not None and not LABEL.fullmatch(app.service_name):
        reason = f"the service name made of the id, {shown(app.service_name)}, {syntax}; give one as `service`"
        yield Finding(("id",), reason, needs=(("service",), ("routes",)))
    if not LABEL.fullmatch(app.target):
        yield Finding(("target",), syntax)


def _command(app: App) -> Iterator[Finding]:
    if app.cmd is not None and app.args is not None:
        yield Finding(("args",), "cmd and args exclude each other: give one of the two")
    if app.cmd is not None and not app.cmd.strip():
        yield Finding(("cmd",), "must not be empty: leave it out to run what the image says")
    if app.container is None:
        yield from _process(app)
        return
    if app.fetch:
        reason = (
            "is for apps without a container: nothing is brought into an image so far;"
            " credentials of its registry are named in container.docker.pullConfig"
        )
        yield Finding(("fetch",), reason, needs=(("container",),))
    yield from _container_user(app)
    image = app.container.docker.image
    where: Path = ("container", "docker", "image")
    if len(image) > IMAGE_CHARACTERS_MAX or not (IMAGE_ID.fullmatch(image) or IMAGE.fullmatch(image)):
        lower = image.lower()
        yield Finding(
            where,
            f"{shown(image)} is no image: [registry/]name[:tag][@digest], the name in lower case",
            lower if lower != image and len(image) <= IMAGE_CHARACTERS_MAX and IMAGE.fullmatch(lower) else None,
        )
    if app.mem < DOCKER_MEM_MIN:
        yield Finding(("mem",), f"must be at least {DOCKER_MEM_MIN} (MiB): Docker starts nothing with less")
    for position, parameter in enumerate(app.container.docker.parameters):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", parameter.key):
            yield Finding(
                ("container", "docker", "parameters", position, "key"),
                f"{shown(parameter.key)} is no option of `docker run`; write it without the leading dashes",
                parameter.key.lstrip("-") or None if parameter.key.startswith("-") else None,
            )
    credentials = app.container.docker.pull_config
    if credentials is not None and not ENTRY_NAME.fullmatch(credentials.secret):
        yield Finding(
            ("container", "docker", "pullConfig", "secret"),
            "must name an entry of the agent's Docker configuration, such as a registry's host name",
        )


def _container_user(app: App) -> Iterator[Finding]:
    if app.user is None or app.container is None:
        return
    if not CONTAINER_USER.fullmatch(app.user):
        yield Finding(("user",), f"{shown(app.user)} is no user of an image: a name or a number, perhaps with `:GROUP`")
    if any(parameter.key == "user" for parameter in app.container.docker.parameters):
        yield Finding(("user",), "the docker parameter user says it, too: give one of the two")


def _process(app: App) -> Iterator[Finding]:
    """An app without a container runs as a process of the machine."""
    unread: tuple[Path, ...] = (("container",), ("cmd",), ("args",), ("networks",))
    if app.external:
        if app.instances:
            reason = "must be 0: without image and command this is a service that others run and register"
            yield Finding(("instances",), reason, needs=unread)
    elif app.cmd is None and not app.args:
        yield Finding(
            ("container",),
            "is not given, and neither is cmd: say which image to run (container.docker.image), or which command",
            needs=unread,
        )
    if app.networks and app.network.mode != "host":
        reason = f"mode {app.network.mode} needs a container; a process is in the network of its machine, mode host"
        yield Finding(("networks", 0, "mode"), reason, "host", needs=unread)
    if app.user is not None and not USER.fullmatch(app.user):
        yield Finding(("user",), f"{shown(app.user)} is no name of a user")
    for position, fetch in enumerate(app.fetch):
        yield from _fetch(fetch, ("fetch", position))


def _fetch(fetch: Fetch, path: Path) -> Iterator[Finding]:
    scheme, separator, rest = fetch.uri.partition("://")
    if scheme not in ("http", "https", "file") or not separator or not rest or not ADDRESS.fullmatch(fetch.uri):
        yield Finding((*path, "uri"), "must be an address that begins with http://, https:// or file:///")
    parts = (fetch.dest_file or "file").split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        reason = "must be a name in the task's folder: without a leading `/`, `.`, `..` and empty parts"
        yield Finding((*path, "destFile"), reason)
    elif fetch.dest_file is None and fetch.uri.endswith("/"):
        yield Finding((*path, "destFile"), "is needed: the address does not end with a file's name")
    if fetch.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", fetch.sha256):
        lower = fetch.sha256.lower()
        fits = lower if re.fullmatch(r"[0-9a-f]{64}", lower) else None
        yield Finding((*path, "sha256"), "must be 64 hexadecimal digits in lower case (`sha256sum FILE`)", fits)
    if fetch.cache:
        yield Finding((*path, "cache"), "nothing is cached so far: leave it out")


def _environment(app: App) -> Iterator[Finding]:
    for name in app.env:
        if "=" in name:
            yield Finding(("env", name), "the name of a variable must not contain `=`")
    for name, secret in app.secret_env.items():
        if not name or "=" in name:
            yield Finding(("env", name), "the name of a variable must not be empty nor contain `=`")
        if secret not in app.secrets:
            reason = f"secrets has no {shown(secret)}"
            yield Finding(("env", name), reason, closest(secret, app.secrets), needs=(("secrets",),))
    for name, source in app.secrets.items():
        if not SECRET_NAME.fullmatch(source.source):
            yield Finding(("secrets", name, "source"), f"{shown(source.source)} is no name of a secret")
    for field, members in (("env", app.env), ("labels", app.labels)):
        size = sum(len(name) + len(value) for name, value in members.items())
        if size > ENVIRONMENT_CHARACTERS_MAX // 2:
            yield Finding((field,), f"all together must have at most {ENVIRONMENT_CHARACTERS_MAX // 2} characters")


def _volumes(app: App) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for position, volume in enumerate(app.container.volumes if app.container else ()):
        where: Path = ("container", "volumes", position)
        for name, path in (("containerPath", volume.container_path), ("hostPath", volume.host_path)):
            if not path.startswith("/") or {"..", "."} & set(path.split("/")):
                yield Finding((*where, name), f"{shown(path)} must begin with `/` and be without `..` and `.`")
        target = volume.container_path.rstrip("/")
        if not target:
            yield Finding((*where, "containerPath"), "the image's own files are there: name a folder below it")
        elif first.setdefault(target, position) != position:
            yield Finding((*where, "containerPath"), f"volume {first[target]} is there already")


def _networks(app: App) -> Iterator[Finding]:
    if len(app.networks) > 1:
        reason = f"an app joins one network, and here are {len(app.networks)}: keep that by which the app is reached"
        yield Finding(("networks",), reason)
    for position, network in enumerate(app.networks):
        where: Path = ("networks", position, "name")
        mode: Path = ("networks", position, "mode")
        if network.mode == "host" and network.labels:
            reason = "mode host has no labels: the machine's own network asks nobody who joins it"
            yield Finding(("networks", position, "labels"), reason, needs=(mode,))
        if network.name is None:
            continue
        if network.mode != "container":
            yield Finding(where, f"mode {network.mode} has no name; only mode container has", needs=(mode,))
        elif not NETWORK_NAME.fullmatch(network.name):
            yield Finding(where, f"{shown(network.name)} is no name of a network")
        elif not is_network(network.name):
            yield Finding(where, f"{shown(network.name)} means no network to Docker, but a mode", needs=(mode,))


def _ports(app: App) -> Iterator[Finding]:
    networks: tuple[Path, ...] = (("networks",),)
    host = app.network.mode == "host"
    mappings = app.container.port_mappings if app.container else ()
    if host and mappings:
        yield Finding(
            ("container", "portMappings"),
            "in network mode host nothing is mapped: list the ports in portDefinitions",
            needs=networks,
        )
    if not host and app.port_definitions:
        yield Finding(
            ("portDefinitions",),
            f"only for network mode host; in mode {app.network.mode} list the ports in container.portMappings",
            needs=networks,
        )
    where: Path = ("portDefinitions",) if host else ("container", "portMappings")
    first: dict[str, int] = {}
    for position, name in enumerate(app.port_names):
        if name is None:
            continue
        if not LABEL.fullmatch(name):
            yield Finding(
                (*where, position, "name"), f"{shown(name)} is no port name: lower-case letters, digits and `-`"
            )
        elif first.setdefault(name, position) != position:
            yield Finding((*where, position, "name"), f"port {first[name]} has the name {name} already")
    for position, mapping in enumerate(mappings):
        if mapping.container_port == 0 and mapping.host_port is None:
            yield Finding(
                ("container", "portMappings", position, "containerPort"),
                "0 means the same as the host port, but hostPort is not given",
                needs=(("container", "portMappings", position, "hostPort"),),
            )


def _ports_path(app: App) -> tuple[Path, ...]:
    """Where the ports of the app are written: who speaks of a port's absence must have been able to read them."""
    return (("networks",), ("portDefinitions",) if app.network.mode == "host" else ("container",))


def _port_index(app: App, index: int, path: Path) -> Iterator[Finding]:
    count = len(app.port_names)
    if index >= count:
        where = "portDefinitions" if app.network.mode == "host" else "container.portMappings"
        has = "has no ports" if count == 0 else "has only port 0" if count == 1 else f"has ports 0 to {count - 1}"
        yield Finding(path, f"the app {has}: there is no port {index} in {where}", needs=_ports_path(app))


def _port_name(app: App, name: str, path: Path) -> Iterator[Finding]:
    names = [known for known in app.port_names if known is not None]
    if name not in names:
        reason = f"no port of the app has the name {shown(name)}"
        yield Finding(path, reason, closest(name, names), needs=_ports_path(app))


def _health_check(app: App, check: HealthCheck, path: Path) -> Iterator[Finding]:
    given = [
        name
        for name, value in (("portIndex", check.port_index), ("portName", check.port_name), ("port", check.port))
        if value is not None
    ]
    if len(given) > 1:
        yield Finding((*path, given[1]), f"{' and '.join(given)} exclude each other: give one of them")
    if check.port_index is not None:
        others: tuple[Path, ...] = ((*path, "portName"), (*path, "port"))
        for finding in _port_index(app, check.port_index, (*path, "portIndex")):
            yield finding._replace(needs=finding.needs + others)
    if check.port_name is not None:
        yield from _port_name(app, check.port_name, (*path, "portName"))
    if check.protocol.removeprefix("MESOS_") in ("HTTP", "HTTPS"):
        yield from _question(check.path, (*path, "path"))
    yield from _server_name(check, path)
    if check.protocol == "COMMAND":
        yield from _command_check(check, given, path)
    elif check.command is not None:
        reason = f"protocol {check.protocol} runs no command; only COMMAND does"
        yield Finding((*path, "command"), reason, needs=((*path, "protocol"),))
    if check.delay_seconds + check.grace_period_seconds > app.deadline_seconds:
        yield Finding(
            (*path, "gracePeriodSeconds"),
            f"a deployment would end ({app.deadline_seconds:g} s) before an instance must be healthy"
            f" ({check.delay_seconds:g} s delay and {check.grace_period_seconds:g} s grace): raise deadlineSeconds",
            needs=(("deadlineSeconds",), (*path, "delaySeconds")),
        )


def _command_check(check: HealthCheck, ports: list[str], path: Path) -> Iterator[Finding]:
    unread: tuple[Path, ...] = ((*path, "protocol"), (*path, "command"))
    if check.command is None or not check.command.value.strip():
        reason = 'protocol COMMAND needs what to run: {"value": "a command line for the shell"}'
        yield Finding((*path, "command"), reason, needs=unread)
    for name in ports:
        yield Finding((*path, name), "a command is run beside the task, not sent to a port: leave it out", needs=unread)


def _readiness(app: App) -> Iterator[Finding]:
    if len(app.readiness_checks) > 1:
        yield Finding(("readinessChecks",), "an app has at most one readiness check")
    for position, check in enumerate(app.readiness_checks):
        yield from _readiness_check(app, check, ("readinessChecks", position))


def _readiness_check(app: App, check: ReadinessCheck, path: Path) -> Iterator[Finding]:
    yield from _port_name(app, check.port_name, (*path, "portName"))
    yield from _question(check.path, (*path, "path"))
    yield from _server_name(check, path)
    if check.timeout_seconds >= check.interval_seconds:
        yield Finding(
            (*path, "timeoutSeconds"),
            f"must be below intervalSeconds ({check.interval_seconds:g})",
            needs=((*path, "intervalSeconds"),),
        )


def _server_name(check: HealthCheck | ReadinessCheck, path: Path) -> Iterator[Finding]:
    if check.server_name is not None and not check.protocol.endswith("HTTPS"):
        reason = f"protocol {check.protocol} has no certificate that could name a server: use HTTPS"
        yield Finding((*path, "serverName"), reason, needs=((*path, "protocol"),))


def _question(path: str, where: Path) -> Iterator[Finding]:
    """The path of a check; unlike a route's it may have a query and percent signs, for it goes to the app alone."""
    if not QUESTION.fullmatch(path) or "#" in path:
        yield Finding(where, "must begin with `/` and have neither spaces nor control characters nor `#`")


def _rollout(app: App) -> Iterator[Finding]:
    """Each step says how many, and more than the steps before it that say so in the same way."""
    most: dict[str, float] = {}
    least = 0.0 if app.rollout.gray is None else -1.0  # in the first step of a gray one only some are asked to come
    for position, step in enumerate(app.rollout.steps):
        where: Path = ("rollout", "steps", position)
        inside: tuple[Path, ...] = ((*where, "instances"), (*where, "share"))
        given = {
            name: value for name, value in (("instances", step.instances), ("share", step.share)) if value is not None
        }
        if len(given) != 1:
            reason = "instances and share exclude each other: give one of them" if given else "needs instances or share"
            yield Finding(where, reason, needs=inside)
        for name, value in given.items():
            if value <= most.get(name, least):
                before = f"that of the steps before it ({most[name]:g})" if name in most else "0"
                yield Finding((*where, name), f"must be above {before}: each step adds to the new version")
            most[name] = max(value, most.get(name, 0))
