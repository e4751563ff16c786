"""An app against each rule of admission, for tests that try every rule on every way in."""

from typing import Any

RESTRICTED = "/restricted"
"""The group in which the strict rules hold."""

Document = dict[str, Any]


def container(**docker: Any) -> Document:
    """An app in a container; `docker` goes beside the image."""
    return {"id": "/app", "container": {"docker": {"image": "shop:v1", **docker}}}


def option(key: str, value: str) -> Document:
    """An app with one raw option of `docker run`."""
    return container(parameters=[{"key": key, "value": value}])


def mount(path: str) -> Document:
    """An app that mounts a path of the machine."""
    app = container()
    app["container"]["volumes"] = [{"containerPath": "/inside", "hostPath": path}]
    return app


def restricted(**changes: Any) -> Document:
    """An app that keeps the strict rules; an option that is None is left out, others are changed or added."""
    options = {"user": "1000", "cap-drop": "ALL", "read-only": "true"} | changes.pop("options", {})
    parameters = [{"key": key, "value": value} for key, value in options.items() if value is not None]
    app = container(**{"image": f"shop@sha256:{'0' * 64}", "parameters": parameters, **changes})
    return app | {"id": f"{RESTRICTED}/app"}


AGAINST: dict[str, Document] = {
    "capabilities": option("cap-add", "SYS_ADMIN"),
    "devices": option("device", "/dev/sda"),
    "docker-option": option("no-healthcheck", "true"),
    "docker-socket": mount("/var/run/docker.sock"),
    "fetch-address": {"id": "/app", "cmd": "./serve", "fetch": [{"uri": "file:///etc/shadow"}]},
    "host-namespace": option("pid", "host"),
    "host-path": mount("/etc"),
    "limits": option("pids-limit", "-1"),
    "log-driver": option("log-driver", "syslog"),
    "mount-propagation": option("volume", "/srv/app:/app:rshared"),
    "privileged": container(privileged=True),
    "restricted-capabilities": restricted(options={"cap-drop": None}),
    "restricted-container": {"id": f"{RESTRICTED}/app", "cmd": "./serve"},
    "restricted-image": restricted(image="shop:v1"),
    "restricted-read-only": restricted(options={"read-only": "false"}),
    "restricted-user": restricted(options={"user": "root"}),
    "restricted-volumes": restricted(options={"volume": "/srv/other:/app"}),
    "root-task": {"id": "/app", "cmd": "./serve", "user": "root"},
    "runtime": option("runtime", "mine"),
    "security-profile": option("security-opt", "seccomp=unconfined"),
    "sysctl": option("sysctl", "kernel.core_pattern=|/bin/sh"),
    "volume-option": option("mount", "type=volume,dst=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/"),
}
"""By rule."""
