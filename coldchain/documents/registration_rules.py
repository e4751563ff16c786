"""The rules of an app that registers itself."""

from collections.abc import Iterator

from coldchain.documents.findings import Finding, Path
from coldchain.model.app import App


def registration_findings(app: App) -> Iterator[Finding]:
    """It does so in one service, by one port."""
    if not app.registers_itself:
        return
    unread: tuple[Path, ...] = (("service",), ("routes",))
    if app.service_name is None:
        yield Finding(("registration",), "needs a `service`: the name to register by", needs=unread)
    elif app.external:
        reason = "needs something to run; what others run and register, routes find by `service` alone"
        yield Finding(("registration",), reason, needs=(*unread, ("container",), ("cmd",), ("args",)))
    elif not app.ports:
        yield Finding(("registration",), "needs a port to register", needs=(*unread, ("container",), ("networks",)))
    elif len({route.port_index for route in app.routes}) > 1:
        reason = "is for one port: an app whose routes lead to several is registered by the platform"
        yield Finding(("registration",), reason, needs=unread)
