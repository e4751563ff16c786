"""doctor: what a machine lacks to run a platform, and what to do about each thing."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from coldchain.cli.errors import FAILED
from coldchain.cli.language import _, plural
from coldchain.cli.output import say, show, write_json
from coldchain.main.machine import Disk, Machine, Port, look
from coldchain.main.settings import PlatformSettings

State = Literal["ok", "warning", "missing"]

DOCKER_OLDEST = (20, 10)
DISK_FREE_MIB = 1024
DESCRIPTORS = 4096
INSTALL_GATEWAY = "apt-get install nginx-light libnginx-mod-http-lua lua-cjson lua-resty-core lua-luaossl"
YEAR_2025 = 1_735_689_600
PRIVILEGED_BELOW = 1024


class Finding(NamedTuple):
    """One thing looked at. `missing`: the platform cannot run so; `warning`: it can, but not as well as it could."""

    name: str
    state: State
    found: str
    todo: str = ""


SIGNS: dict[State, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "missing": ("✗", "red")}


async def examine(settings: PlatformSettings, *, as_json: bool) -> int:
    """The command: look and tell. Returns the exit status: 1 if something is missing."""
    return tell(findings(await look(settings)), _("this machine can run a platform"), as_json=as_json)


def tell(found: list[Finding], well: str, *, as_json: bool) -> int:
    """What was found, and `well` if nothing is missing. Returns the exit status."""
    missing = [one for one in found if one.state == "missing"]
    if as_json:
        write_json({"ready": not missing, "findings": [one._asdict() for one in found]})
    else:
        _show(found)
        said = plural("{number} thing is missing", "{number} things are missing", len(missing))
        say(said if missing else well)
    return FAILED if missing else 0


def _show(found: list[Finding]) -> None:
    from rich.text import Text

    for one in found:
        sign, color = SIGNS[one.state]
        show(Text.assemble((sign, color), f" {one.name}: {one.found}"))
        if one.todo:
            show(Text(f"  {one.todo}", style=color))


def findings(machine: Machine) -> list[Finding]:
    """Everything, in the order in which a platform needs it."""
    return [
        *_system(machine),
        *_docker(machine),
        *gateway_programs(machine.nginx, machine.nginx_error, machine.lua_missing, machine.firewall_missing),
        *(port_finding(port, taken_by_us=machine.platform_runs) for port in machine.ports),
        *disk_findings(machine.disks),
        *_cgroups(machine),
        descriptor_finding(machine.descriptors),
        *_clock(machine),
        *_members(machine),
        *_consuls(machine),
    ]


def _system(machine: Machine) -> Iterator[Finding]:
    said = f"{machine.system}, Python {machine.python[0]}.{machine.python[1]}"
    if not machine.system.startswith("Linux"):
        yield Finding("system", "missing", said, _("Run the platform on Linux; the commands work from here."))
    else:
        yield Finding("system", "ok", said)
    if machine.user == 0:
        yield Finding("user", "ok", "root")
    else:
        todo = _("Run `coldchain up` as root, or as a user of the group docker with ports from 1024 on.")
        yield Finding("user", "warning", _("not root (user {user})", user=machine.user), todo)


def _docker(machine: Machine) -> Iterator[Finding]:
    info = machine.docker
    if info is None:
        if "denied" in machine.docker_error:
            todo = _("Run as root, or join the group docker: `adduser USER docker`, and log in again.")
        elif "no socket" in machine.docker_error:
            todo = _("Install it: `apt-get install docker.io`; or name its socket with --docker-socket.")
        else:
            todo = _("Start it: `systemctl start docker`; `journalctl -u docker` tells why it does not.")
        yield Finding("docker", "missing", machine.docker_error, todo)
        return
    version = str(info.get("ServerVersion", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    said = _("Docker Engine {version} at {socket}", version=version, socket=machine.docker_socket)
    if len(numbers) == 2 and numbers < DOCKER_OLDEST:
        yield Finding("docker", "missing", said, _("Install version 20.10 or newer."))
    else:
        yield Finding("docker", "ok", said)
    lacks = [name for name in ("MemoryLimit", "CpuCfsQuota", "PidsLimit", "IPv4Forwarding") if info.get(name) is False]
    if lacks:
        todo = _("Apps run without these limits; see `docker info` for what the kernel lacks.")
        yield Finding("docker limits", "warning", _("Docker has no {lacks}", lacks=", ".join(lacks)), todo)


def gateway_programs(
    nginx: str | None, error: str, lua_missing: tuple[str, ...], packages: tuple[str, ...]
) -> Iterator[Finding]:
    """What a gateway runs by. `nginx`: its version, None with an `error`; `packages`: those that a firewall lacks."""
    install = _("Install it: `{command}`.", command=INSTALL_GATEWAY)
    if nginx is None:
        yield Finding("nginx", "missing", error, install)
        return
    yield Finding("nginx", "ok", nginx)
    if lua_missing:
        yield Finding("nginx's Lua", "missing", _("no {packages}", packages=", ".join(lua_missing)), install)
    else:
        yield Finding("nginx's Lua", "ok", "cjson, resty.core, openssl")
    if packages:
        todo = _("Routes with a firewall need it: `{command}`.", command=f"apt-get install {' '.join(packages)}")
        yield Finding("firewall", "warning", _("no {packages}", packages=", ".join(packages)), todo)
    else:
        yield Finding("firewall", "ok", _("ModSecurity with the core rules"))


def port_finding(port: Port, *, taken_by_us: bool) -> Finding:
    name = f"port {port.address}"
    if port.error is None:
        return Finding(name, "ok", _("free for the {name}", name=port.name))
    if taken_by_us:
        return Finding(name, "ok", _("the {name} of the platform that runs here", name=port.name))
    if "denied" in port.error and int(port.address.rpartition(":")[2]) < PRIVILEGED_BELOW:
        todo = _("Run as root, or choose a port from 1024 on with {option}.", option=port.option)
    else:
        todo = _("`ss -ltnp` shows who listens there; end that, or choose another with {option}.", option=port.option)
    return Finding(name, "missing", _("{name}: {error}", name=port.name, error=port.error), todo)


def disk_findings(disks: tuple[Disk, ...]) -> Iterator[Finding]:
    """The first one is that of the data."""
    data = disks[0].folder
    for disk in disks:
        said = _("{free} of {total} MiB free", free=disk.free_mib, total=disk.total_mib)
        name = f"disk {disk.folder}"
        if disk.folder == data and not disk.writable:
            todo = _("Run as root, or name a folder of your own with --data.")
            yield Finding(name, "missing", _("this user cannot write there"), todo)
        elif disk.free_mib < DISK_FREE_MIB:
            todo = _("Make room: `docker system df` and `du -x` show what takes it.")
            yield Finding(name, "warning", said, todo)
        else:
            yield Finding(name, "ok", said)


def _cgroups(machine: Machine) -> Iterator[Finding]:
    missing = [name for name in ("cpu", "memory", "pids") if name not in machine.controllers]
    if machine.cgroups is None or missing:
        said = _("cgroups cannot limit {what}", what=", ".join(missing) or "memory")
        yield Finding(
            "cgroups",
            "warning",
            said,
            _("Apps run without these limits. Boot with `cgroup_enable=memory`, or mount /sys/fs/cgroup."),
        )
    else:
        yield Finding("cgroups", "ok", f"v{machine.cgroups}: cpu, memory, pids")


def descriptor_finding(descriptors: int) -> Finding:
    few = 0 <= descriptors < DESCRIPTORS
    said = _("unlimited") if descriptors < 0 else str(descriptors)
    todo = _("Raise it: `ulimit -n 65536`, or LimitNOFILE= of the service.") if few else ""
    return Finding("open files", "warning" if few else "ok", said, todo)


def _clock(machine: Machine) -> Iterator[Finding]:
    todo = _("Keep it right: `apt-get install systemd-timesyncd` or chrony.")
    if machine.now < YEAR_2025:
        yield Finding("clock", "missing", _("it is not set"), todo)
    elif machine.clock_synchronised is False:
        yield Finding("clock", "warning", _("nobody keeps it right"), todo)
    else:
        yield Finding("clock", "ok", _("set"))


def _members(machine: Machine) -> Iterator[Finding]:
    """A member that is away is a warning while more than half are there: etcd writes with those."""
    enough = 2 * sum(not one.error for one in machine.members) > len(machine.members)
    for one in machine.members:
        name = f"etcd {one.endpoint}"
        if not one.error:
            yield Finding(name, "ok", _("reads, writes and limits are as they must be"))
        else:
            todo = one.todo or _("Look at this member and at the network between.")
            yield Finding(name, "warning" if enough and not one.refused else "missing", one.error, todo)


def _consuls(machine: Machine) -> Iterator[Finding]:
    """One that does not answer is a warning: the platform serves on, and registers when it does."""
    for one in machine.consuls:
        name = f"registry {one.address}"
        if not one.error:
            yield Finding(name, "ok", _("led by {leader}", leader=one.leader))
        elif one.refused:
            todo = _("Give a token that may read agents and nodes and write services: consul://…?token=FILE.")
            yield Finding(name, "missing", one.error, todo)
        else:
            todo = _("Start it, and look at the address and the network between: new instances wait until it answers.")
            yield Finding(name, "warning", one.error, todo)
