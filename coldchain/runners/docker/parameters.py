"""Options of `docker run` that an app may give as docker parameters, and their place in the container document."""

import difflib
import re
from collections.abc import Callable
from typing import Any

from coldchain.model.app import App, Parameter
from coldchain.model.errors import Problem

Document = dict[str, Any]
Apply = Callable[[Document, str], None]
"""Writes one option's value into the container document; raises ValueError with the reason when it cannot."""

SIZE_FACTORS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def apply_parameters(document: Document, parameters: tuple[Parameter, ...]) -> None:
    """Into the document. All must be known and well-formed (see `unknown_parameters`)."""
    # The driver first: to Docker the order of options means nothing, and naming a driver drops our own log options.
    for parameter in sorted(parameters, key=lambda parameter: parameter.key != "log-driver"):
        KNOWN[parameter.key](document, parameter.value)


def unknown_parameters(app: App) -> list[Problem]:
    """Every docker parameter of the app that the docker runner does not know, or whose value it cannot read."""
    if app.container is None:
        return []
    problems = []
    for index, parameter in enumerate(app.container.docker.parameters):
        path = f"/container/docker/parameters/{index}"
        if parameter.key in RESERVED:
            reason = f"docker option {parameter.key!r} is Coldchain's own; {RESERVED[parameter.key]}"
            problems.append(Problem(path=f"{path}/key", reason=reason))
        elif parameter.key not in KNOWN:
            near = difflib.get_close_matches(parameter.key, KNOWN, n=1)
            reason = f"docker option {parameter.key!r} is not known"
            problems.append(Problem(path=f"{path}/key", reason=reason, suggestion=near[0] if near else None))
        else:
            try:
                KNOWN[parameter.key]({}, parameter.value)
            except ValueError as error:
                problems.append(Problem(path=f"{path}/value", reason=f"{parameter.key}: {error}"))
    return problems


def _inside(document: Document, path: str) -> tuple[Document, str]:
    """The dict that holds the last name of a dotted path, made on the way."""
    *folders, name = path.split(".")
    for folder in folders:
        document = document.setdefault(folder, {})
    return document, name


def _text(path: str) -> Apply:
    def apply(document: Document, value: str) -> None:
        holder, name = _inside(document, path)
        holder[name] = value

    return apply


def _number(path: str, read: Callable[[str], float] = int) -> Apply:
    def apply(document: Document, value: str) -> None:
        holder, name = _inside(document, path)
        try:
            holder[name] = read(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a number") from None

    return apply


def _size(path: str) -> Apply:
    def apply(document: Document, value: str) -> None:
        holder, name = _inside(document, path)
        match = re.fullmatch(r"(\d+)([bkmg]?)", value.lower())
        if value != "-1" and match is None:
            raise ValueError(f"{value!r} is not a size such as 64m")
        holder[name] = int(match[1]) * SIZE_FACTORS[match[2]] if match else -1

    return apply


def _flag(path: str) -> Apply:
    def apply(document: Document, value: str) -> None:
        holder, name = _inside(document, path)
        if value not in ("", "true", "false"):
            raise ValueError(f"{value!r} is neither true nor false")
        holder[name] = value != "false"

    return apply


def _append(path: str) -> Apply:
    def apply(document: Document, value: str) -> None:
        holder, name = _inside(document, path)
        holder[name] = [*holder.get(name, ()), value]

    return apply


def _pair(path: str, separator: str = "=", *, needed: bool = True) -> Apply:
    def apply(document: Document, value: str) -> None:
        holder, name = _inside(document, path)
        key, found, rest = value.partition(separator)
        if not key or (needed and not found):
            raise ValueError(f"{value!r} is not of the form NAME{separator}VALUE")
        holder.setdefault(name, {})[key] = rest

    return apply


def _environment(document: Document, value: str) -> None:
    if value.partition("=")[1] != "=" or value.startswith("="):
        raise ValueError(f"{value!r} is not of the form NAME=VALUE")
    _append("Env")(document, value)


def _entrypoint(document: Document, value: str) -> None:
    document["Entrypoint"] = [value] if value else [""]


def _volume(document: Document, value: str) -> None:
    if ":" in value:
        _append("HostConfig.Binds")(document, value)
    elif value.startswith("/"):
        document.setdefault("Volumes", {})[value] = {}
    else:
        raise ValueError(f"{value!r} is not of the form [SOURCE:]/PATH[:MODE]")


def _ulimit(document: Document, value: str) -> None:
    match = re.fullmatch(r"([a-z]+)=(-?\d+)(?::(-?\d+))?", value)
    if match is None:
        raise ValueError(f"{value!r} is not of the form NAME=SOFT[:HARD]")
    soft = int(match[2])
    limit = {"Name": match[1], "Soft": soft, "Hard": int(match[3]) if match[3] else soft}
    holder, name = _inside(document, "HostConfig.Ulimits")
    holder[name] = [*holder.get(name, ()), limit]


def _device(document: Document, value: str) -> None:
    match = re.fullmatch(r"(/[^:]+)(?::(/[^:]+))?(?::([rwm]{1,3}))?", value)
    if match is None:
        raise ValueError(f"{value!r} is not of the form /PATH[:/PATH][:rwm]")
    device = {
        "PathOnHost": match[1],
        "PathInContainer": match[2] or match[1],
        "CgroupPermissions": match[3] or "rwm",
    }
    holder, name = _inside(document, "HostConfig.Devices")
    holder[name] = [*holder.get(name, ()), device]


def _log_driver(document: Document, value: str) -> None:
    document.setdefault("HostConfig", {})["LogConfig"] = {"Type": value, "Config": {}}


def _cpus(value: str) -> float:
    return int(float(value) * 1_000_000_000)


KNOWN: dict[str, Apply] = {
    "add-host": _append("HostConfig.ExtraHosts"),
    "cap-add": _append("HostConfig.CapAdd"),
    "cap-drop": _append("HostConfig.CapDrop"),
    "cpu-period": _number("HostConfig.CpuPeriod"),
    "cpu-quota": _number("HostConfig.CpuQuota"),
    "cpu-shares": _number("HostConfig.CpuShares"),
    "cpus": _number("HostConfig.NanoCpus", _cpus),
    "cpuset-cpus": _text("HostConfig.CpusetCpus"),
    "device": _device,
    "dns": _append("HostConfig.Dns"),
    "dns-option": _append("HostConfig.DnsOptions"),
    "dns-search": _append("HostConfig.DnsSearch"),
    "domainname": _text("Domainname"),
    "entrypoint": _entrypoint,
    "env": _environment,
    "group-add": _append("HostConfig.GroupAdd"),
    "hostname": _text("Hostname"),
    "init": _flag("HostConfig.Init"),
    "ipc": _text("HostConfig.IpcMode"),
    "label": _pair("Labels", needed=False),
    "log-driver": _log_driver,
    "log-opt": _pair("HostConfig.LogConfig.Config"),
    "memory-reservation": _size("HostConfig.MemoryReservation"),
    "memory-swap": _size("HostConfig.MemorySwap"),
    "memory-swappiness": _number("HostConfig.MemorySwappiness"),
    "oom-score-adj": _number("HostConfig.OomScoreAdj"),
    "pid": _text("HostConfig.PidMode"),
    "pids-limit": _number("HostConfig.PidsLimit"),
    "read-only": _flag("HostConfig.ReadonlyRootfs"),
    "runtime": _text("HostConfig.Runtime"),
    "security-opt": _append("HostConfig.SecurityOpt"),
    "shm-size": _size("HostConfig.ShmSize"),
    "stop-signal": _text("StopSignal"),
    "sysctl": _pair("HostConfig.Sysctls"),
    "tmpfs": _pair("HostConfig.Tmpfs", ":", needed=False),
    "ulimit": _ulimit,
    "user": _text("User"),
    "uts": _text("HostConfig.UTSMode"),
    "volume": _volume,
    "workdir": _text("WorkingDir"),
}

RESERVED = {
    "attach": "the app's output is in its logs",
    "detach": "every task runs by itself",
    "expose": "say it in `portMappings`",
    "ip": "addresses are given by Coldchain",
    "memory": "say it in `mem`",
    "name": "a container is named after its task",
    "net": "say it in `networks`",
    "network": "say it in `networks`",
    "privileged": "say it in `container.docker.privileged`",
    "publish": "say it in `portMappings`",
    "publish-all": "say it in `portMappings`",
    "restart": "Coldchain itself starts a new instance",
    "rm": "Coldchain removes a container once its end is on record",
    "stop-timeout": "say it in `taskKillGracePeriodSeconds`",
}
