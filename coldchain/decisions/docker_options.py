"""docker options: what admission thinks of the raw options of `docker run`. What is not listed here is refused, so that
an option that the runner learns one day is not admitted by having been forgotten."""

import re
from collections.abc import Callable
from typing import NamedTuple

from coldchain.decisions import host_path


class Objection(NamedTuple):
    """Why a value is refused: by which rule, the reason, and what to do."""

    rule: str
    reason: str
    todo: str


class Host(NamedTuple):
    """What of the machine is the platform's own, beside what every machine has."""

    protected: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()


Judge = Callable[[str, Host], Objection | None]

_CAPABILITIES = """
    AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT
"""
DEFAULT_CAPABILITIES = frozenset(_CAPABILITIES.split())
"""What Docker gives every container, but for NET_RAW, by which a container forges packets of its neighbours."""

SAFE_PROFILES = frozenset(
    {
        "apparmor=docker-default",
        "no-new-privileges",
        "no-new-privileges:true",
        "no-new-privileges=true",
        "seccomp=builtin",
    }
)
SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.core.somaxconn",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_syncookies",
    }
)
"""Settings of the kernel that each container has for itself."""
LOG_DRIVERS = frozenset({"json-file", "journald", "local", "none"})
"""Those that write here. The others let Docker, as root, speak to an address that the app chooses."""
LOG_OPTIONS = frozenset({"compress", "env", "env-regex", "labels", "labels-regex", "max-file", "max-size", "tag"})
RUNTIMES = frozenset({"crun", "runc", "runsc"})
VOLUME_MODES = frozenset({"", "nocopy", "private", "ro", "rprivate", "rw", "z", "Z"})
PROPAGATIONS = frozenset({"rshared", "rslave", "shared", "slave"})
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
IPC_MODES = frozenset({"none", "private", "shareable"})
NETWORK_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
NETWORKS_BY_MODE = frozenset({"default", "host", "none"})
"""Names that mean a mode to Docker and not a network."""


def objection(key: str, value: str, host: Host) -> Objection | None:
    """Why the option may not be given; None where it may."""
    if key in OPTIONS:
        return OPTIONS[key](value, host)
    if key in RULES_OF_UNLISTED:
        return Objection(RULES_OF_UNLISTED[key], f"the docker option {key} is not for apps", "Leave it out")
    reason = f"the docker option {key} is not among those that an app may give"
    return Objection("docker-option", reason, "Leave it out, or say it by a field of the definition")


def mount_objection(path: str, host: Host) -> Objection | None:
    """Why this path of the machine may not be mounted."""
    plain = host_path.normal(path)
    if host_path.is_socket(plain) or plain in map(host_path.normal, host.sockets):
        reason = f"{plain} is the socket of a container engine: whoever speaks to it is root of the machine"
        return Objection("docker-socket", reason, "Leave it out; ask Coldchain's API for what the app needs")
    part = host_path.sensitive_part(plain, (*host.protected, *host.sockets))
    if part is None:
        return None
    return Objection("host-path", f"{plain} lays {part} of the machine open", "Mount a folder made for the app")


def is_network(name: str) -> bool:
    """Whether Docker takes it for the name of a network; what is none could be the network of the machine, or of
    another container."""
    return name not in NETWORKS_BY_MODE and NETWORK_NAME.fullmatch(name) is not None


def _fine(value: str, host: Host) -> Objection | None:
    return None


def _capability(value: str, host: Host) -> Objection | None:
    name = value.strip().upper().removeprefix("CAP_")
    if name in DEFAULT_CAPABILITIES:
        return None
    return Objection("capabilities", f"capability {name} is beyond the default set", "Do without it")


def _device(value: str, host: Host) -> Objection | None:
    return Objection("devices", f"the device {value} is the machine's", "Do without it")


def _no_namespace_of_others(*own: str) -> Judge:
    def judge(value: str, host: Host) -> Objection | None:
        if value in own or not value:
            return None
        reason = f"{value} shares a namespace with the machine or with other containers"
        return Objection("host-namespace", reason, "Leave it out: each container has its own")

    return judge


def _security(value: str, host: Host) -> Objection | None:
    if value in SAFE_PROFILES:
        return None
    reason = f"{value[:80]} changes what seccomp, AppArmor or SELinux keep a container from"
    return Objection("security-profile", reason, "Leave it out: the default profiles stay on")


def _sysctl(value: str, host: Host) -> Objection | None:
    name = value.partition("=")[0].strip().replace("/", ".")
    if name in SAFE_SYSCTLS:
        return None
    return Objection("sysctl", f"{name} is not known to be each container's own", "Set it on the machine")


def _log_driver(value: str, host: Host) -> Objection | None:
    if value in LOG_DRIVERS:
        return None
    return Objection(
        "log-driver", f"{value} sends logs where the app says", f"Use one of {', '.join(sorted(LOG_DRIVERS))}"
    )


def _log_option(value: str, host: Host) -> Objection | None:
    name = value.partition("=")[0].strip()
    if name in LOG_OPTIONS:
        return None
    return Objection("log-driver", f"{name} is not an option of where logs lie here", "Leave it out")


def _runtime(value: str, host: Host) -> Objection | None:
    if value in RUNTIMES:
        return None
    return Objection("runtime", f"{value} is not known to keep containers apart", "Leave it out")


def _at_least(least: int, words: str) -> Judge:
    def judge(value: str, host: Host) -> Objection | None:
        try:
            below = int(value.strip()) < least
        except ValueError:
            below = value.strip().startswith("-")
        return Objection("limits", f"{value} {words}", f"Give at least {least}, or leave it out") if below else None

    return judge


def _volume(value: str, host: Host) -> Objection | None:
    source, separator, rest = value.partition(":")
    if not separator:
        return None  # a volume of the container's own
    for mode in rest.partition(":")[2].split(","):
        if mode.strip().removeprefix("bind-propagation=") in PROPAGATIONS:
            return Objection(
                "mount-propagation", f"mode {mode} passes mounts on to and from the machine", "Leave it out"
            )
        if mode not in VOLUME_MODES:
            return Objection("volume-option", f"{mode} is not a mode of a volume", "Write ro or rw")
    if source.startswith("/"):
        return mount_objection(source, host)
    if VOLUME_NAME.fullmatch(source):
        return None
    return Objection("volume-option", f"{source} is neither an absolute path nor a name", "Write /PATH:/PATH[:ro]")


_HARMLESS = """
    add-host cap-drop cpu-period cpu-quota cpu-shares cpus cpuset-cpus dns dns-option dns-search domainname entrypoint
    env group-add hostname init label memory-reservation memory-swappiness read-only shm-size stop-signal tmpfs ulimit
    user workdir
"""
OPTIONS: dict[str, Judge] = {
    **dict.fromkeys(_HARMLESS.split(), _fine),
    "cap-add": _capability,
    "device": _device,
    "ipc": _no_namespace_of_others(*IPC_MODES),
    "log-driver": _log_driver,
    "log-opt": _log_option,
    "memory-swap": _at_least(1, "lets a container take all swap of the machine"),
    "oom-score-adj": _at_least(0, "has others killed instead when memory is out"),
    "pid": _no_namespace_of_others(),
    "pids-limit": _at_least(1, "is no limit"),
    "runtime": _runtime,
    "security-opt": _security,
    "sysctl": _sysctl,
    "uts": _no_namespace_of_others(),
    "volume": _volume,
}
"""Every option that the docker runner knows."""

RULES_OF_UNLISTED = {
    "cgroup-parent": "limits",
    "cgroupns": "host-namespace",
    "device-cgroup-rule": "devices",
    "gpus": "devices",
    "mount": "volume-option",
    "oom-kill-disable": "limits",
    "privileged": "privileged",
    "userns": "host-namespace",
    "v": "volume-option",
    "volume-driver": "volume-option",
    "volumes-from": "volume-option",
}
"""Options that no runner knows, by the rule that they are against."""
