"""dubbo_fields: what is wrong with what a definition says of the services of Dubbo that its app provides."""

import re
from collections.abc import Iterator

from coldchain.documents.findings import Finding, shown
from coldchain.model.app import App

REGISTRY = re.compile(r"zk://[^@/\s,:]+:\d{1,5}(,[^@/\s,:]+:\d{1,5})*/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
"""Without a password: a definition is shown to whoever may read it."""
INTERFACE = re.compile(r"([A-Za-z0-9._-]+/)?[A-Za-z_$][\w$-]*(\.[A-Za-z_$][\w$-]*)*(:[A-Za-z0-9._-]+)?", re.ASCII)
"""With `-`, for it may be an application, whose processes are announced as a whole."""


def dubbo_findings(app: App) -> Iterator[Finding]:
    """Everything wrong with it."""
    dubbo = app.dubbo
    if dubbo is None:
        return
    if not REGISTRY.fullmatch(dubbo.registry):
        reason = f"{shown(dubbo.registry)} is no address: zk://HOST:PORT[,HOST:PORT...]/ROOT"
        host = re.sub(r"^(zookeeper|dubbo)://", "zk://", dubbo.registry)
        meant = next((each for each in (host, f"{host.rstrip('/')}/dubbo") if REGISTRY.fullmatch(each)), None)
        yield Finding(("dubbo", "registry"), reason, meant)
    for position, name in enumerate(dubbo.interfaces):
        if not INTERFACE.fullmatch(name):
            yield Finding(("dubbo", "interfaces", position), f"{shown(name)} is not [GROUP/]INTERFACE[:VERSION]")
    if app.external:
        yield Finding(("dubbo",), "is for apps that are launched here", needs=(("container",), ("cmd",), ("args",)))
    elif not app.ports:
        reason = "needs a port: providers are known by their addresses"
        yield Finding(("dubbo",), reason, needs=(("portDefinitions",), ("container",), ("networks",)))
