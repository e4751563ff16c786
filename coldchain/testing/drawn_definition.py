"""drawn definition: an app that can be run, with what random numbers choose for it."""

import itertools
from random import Random
from typing import Any

NUMBERS = itertools.count()
"""What no two apps may have alike: Hypothesis likes to draw the same."""


def definition(random: Random, app_id: str) -> dict[str, Any]:
    """One that can be run, different each time."""
    port = {"containerPort": random.choice([0, 80, 8080]), "hostPort": 0, "name": "http"}
    optional: dict[str, Any] = {
        "env": {"MODE": random.choice(["a", "b", ""])},
        "labels": {"tier": random.choice(["web", "data"])},
        "healthChecks": [{"path": "/", "intervalSeconds": random.choice([0.1, 1]), "timeoutSeconds": 0.1}],
        "readinessChecks": [{"portName": "http", "preserveLastResponse": True}],
        "upgradeStrategy": {"minimumHealthCapacity": random.choice([0, 0.5, 1])},
        "constraints": [random.choice([["hostname", "LIKE", ".*"], ["hostname", "GROUP_BY"]])],
        "routes": [{"domains": [f"{next(NUMBERS)}.test"]}],
        "killSelection": random.choice(["YOUNGEST_FIRST", "OLDEST_FIRST"]),
        "drainSeconds": 0,
        "deadlineSeconds": 900,
        "backoffFactor": 2,
        "cmd": "run",
        "args": None,
    }
    chosen = random.sample(sorted(optional), random.randrange(4))
    return {
        "id": app_id,
        "cpus": 0.01,
        "mem": 16,
        "instances": random.randrange(3),
        "container": {"docker": {"image": random.choice(["shop:v1", "shop:v2"])}, "portMappings": [port]},
        **{name: optional[name] for name in chosen},
    }
