"""PyPI's `dubbo-ssl-python`, a consumer of Dubbo with a Hessian 2 of its own, as a program: it has threads of its own
that never end, so it lives in a process of its own.

    python -m coldchain.testing.dubbo_consumer HOST:PORT INTERFACE GROUP VERSION < calls > outcomes

Calls are a list in JSON, `[method, [argument…]]`; a dict with a `class` is an object of it. Outcomes are one as well:
`["value", …]`, or `["error", words]`.
"""

import json
import os
import sys
from typing import Any


def main() -> None:
    from dubbo_ssl.client import DubboClient  # type: ignore[import-untyped]
    from dubbo_ssl.common.exceptions import DubboException  # type: ignore[import-untyped]

    address, interface, group, version = sys.argv[1:]
    client = DubboClient(interface, group, version, host=address)
    outcomes: list[list[Any]] = []
    for method, values in json.load(sys.stdin):
        try:
            outcomes.append(["value", client.call(method, [argument(one) for one in values], timeout=30)])
        except DubboException as error:
            outcomes.append(["error", str(error)])
    print(json.dumps(outcomes), flush=True)
    os._exit(0)


def argument(value: Any) -> Any:
    from dubbo_ssl.codec.encoder import Object  # type: ignore[import-untyped]

    if not isinstance(value, dict):
        return value
    made = Object(value["class"])
    for name, one in value.items():
        if name != "class":
            made[name] = argument(one)
    return made


if __name__ == "__main__":
    main()
