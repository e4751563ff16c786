"""networks: some apps of a life are in a network that gives their tasks their addresses."""

import random

import msgspec

from coldchain.model.app import App, Network

NAMED = 0.3
"""Share of the apps."""


def in_network(seed: int, app: App) -> App:
    """The app, perhaps in a network by name."""
    if random.Random(f"network {seed} {app.id}").random() >= NAMED:
        return app
    return msgspec.structs.replace(app, networks=(Network(name="online_net"),))
