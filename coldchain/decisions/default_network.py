"""default network: which one an app joins that asks for a network of its own and names none."""

import msgspec

from coldchain.model.app import App


def with_network_named(app: App, before: App | None, default: str | None) -> App:
    """The app with that name where it left it out. None: such an app joins the bridge of its machine. One that is in it
    already, as its version until now says, stays there: who scales it does not move it."""
    if default is None or app.network.mode != "container" or app.network.name is not None:
        return app
    if before is not None and before.network == app.network:
        return app
    return msgspec.structs.replace(app, networks=(msgspec.structs.replace(app.network, name=default),))
