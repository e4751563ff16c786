"""What a network that an app joins by name is told of the container that joins it. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from coldchain.model.app import App
from coldchain.model.task import TaskSpec
from coldchain.ports.docker_networks import DRIVER

OURS = DRIVER
"""The driver of Coldchain's own networks, in which policy goes by apps and labels. What another driver makes of
options is its own affair, so it gets none."""

OPTION_APP = "coldchain.app"
OPTION_TASK = "coldchain.task"
OPTION_LABEL = "coldchain.label."
KEY_CHARACTERS_MAX = 128
VALUE_CHARACTERS_MAX = 512


def driver_options(spec: TaskSpec) -> dict[str, str]:
    """What our driver is told, to find the container's policy."""
    labels = {OPTION_LABEL + key: value for key, value in policy_labels(spec.app).items() if not unfit(key, value)}
    return {OPTION_APP: spec.app_id, OPTION_TASK: spec.task_id} | labels


def policy_labels(app: App) -> Mapping[str, str]:
    """By which policy may select it: the app's, and before them those of its place in the network."""
    return app.labels | app.network.labels


def unfit_labels(app: App) -> Iterator[str]:
    """Which of them our driver is not told, and why."""
    for key, value in sorted(policy_labels(app).items()):
        if reason := unfit(key, value):
            yield f"{key[:KEY_CHARACTERS_MAX]!r}: {reason}"


def unfit(key: str, value: str) -> str:
    """Why a label cannot be an option of `docker run`, where somebody might want to write the same; empty if it can."""
    if len(key) > KEY_CHARACTERS_MAX:
        return f"its name is longer than {KEY_CHARACTERS_MAX} characters"
    if not key.isprintable() or any(character in ' ,="' for character in key):
        return "its name has blanks, commas, quotes, `=` or what cannot be printed"
    if len(value) > VALUE_CHARACTERS_MAX:
        return f"its value is longer than {VALUE_CHARACTERS_MAX} characters"
    if not value.isprintable():
        return "its value has what cannot be printed"
    return ""


def with_options(document: dict[str, Any], options: Mapping[str, str]) -> dict[str, Any]:
    """The container document of somebody who tells the driver of its network this."""
    network = document["HostConfig"]["NetworkMode"]
    endpoint = document["NetworkingConfig"]["EndpointsConfig"][network] | {"DriverOpts": dict(options)}
    return document | {"NetworkingConfig": {"EndpointsConfig": {network: endpoint}}}
