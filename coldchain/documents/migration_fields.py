"""What Marathon's definitions say that Coldchain has no field for: what can be left out, and what then to do, and what
cannot. Only fields that `decode_app` refuses are looked up here, so that an entry ends with the field's coming."""

from typing import Any, NamedTuple

Pattern = tuple[str, ...]
"""A path into a definition; `*` stands for any member."""

_STATE = """
    deployments lastTaskFailure readinessCheckResults taskStats tasks tasksHealthy tasksRunning tasksStaged
    tasksUnhealthy version versionInfo
"""
STATE = frozenset(_STATE.split())
"""Fields that Marathon answers and no definition has."""


class Loss(NamedTuple):
    """Why something is left out, and what to do about it."""

    reason: str
    todo: str


SAFE: dict[Pattern, Loss] = {
    ("ipAddress", "groups"): Loss("networks have no groups", "Say by labels and by policy who may talk to whom."),
}
"""What an app runs as well without."""

UNSAFE: dict[Pattern, str] = {
    ("container", "linuxInfo"): "See whether the app runs without it, then leave it out.",
    ("container", "volumes", "*", "external"): "Mount it on the machines, and name the folder as `hostPath`.",
    ("container", "volumes", "*", "persistent"): "Move the data to a folder of one machine or to a server of its own,"
    " and name it by `hostPath` and a constraint, or by `env`.",
    ("container", "volumes", "*", "secret"): "Give the secret in `env`: see `coldchain secret`.",
    ("executor",): "Give the command itself in `cmd`.",
    ("linuxInfo",): "See whether the app runs without it, then leave it out.",
    ("residency",): "Move the data to a folder of one machine or to a server of its own.",
    ("storeUrls",): "Write them as `fetch`.",
}
"""What an app cannot be thought to run without; also what nobody here knows is never left out."""

CARRIED: dict[str, Loss] = {
    "acceptedResourceRoles": Loss(
        "only agents that offer one of these roles are taken",
        "See that agents offer them, or leave it out: engine local offers its machine as `*`.",
    ),
    "gpus": Loss("only agents that offer GPUs are taken", "See that agents offer them: engine local offers none."),
}
"""What carries over, and may keep an app from every agent."""


def matching(table: dict[Pattern, Any], path: tuple[str, ...]) -> Any:
    """The entry for a path, or for what it is within; None if there is none."""
    for pattern, entry in table.items():
        if len(pattern) <= len(path) and all(part in ("*", given) for part, given in zip(pattern, path, strict=False)):
            return entry
    return None
