"""gateway grounds: what has to be there before an operation on what gateways know can be done."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coldchain.testing.certificates import Authority

OF_CERTIFICATES = frozenset({"setCertificate", "deleteCertificate"})
OF_CONSUMERS = frozenset({"showConsumer", "putConsumer", "deleteConsumer", "addConsumerKey", "revokeConsumerKey"})
OF_GRAY = frozenset({"showGray", "changeGray", "pauseGray", "resumeGray", "promoteGray", "abortGray"})
GATEWAY_OPERATIONS = OF_CERTIFICATES | OF_CONSUMERS | OF_GRAY

GRAY_SECONDS = 20.0
GRAY_APP: dict[str, Any] = {
    "id": "/gray",
    "routes": [{"domains": ["gray.test"]}],
    "instances": 1,
    "cpus": 0.01,
    "mem": 16,
    "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 8080}]},
    "settleSeconds": 0,
    "drainSeconds": 0,
    "rollout": {"steps": [{"share": 0.1}, {"share": 0.5}], "gray": {"mark": "spring", "rules": [{"by": "weight"}]}},
}

Ask = Callable[[str, str, Any], Any]
Prepared = tuple[dict[str, str], Any]


def prepare_gateway(ask: Ask, put_text: Callable[[str, str], object], name: str, number: int) -> Prepared:
    """Makes what `name` needs, by the API; `put_text` sends a text to an address. `number`: another one each time.
    Returns the parameters of its path, and what to send."""
    if name in OF_CERTIFICATES:
        return _certificate(put_text, name, number)
    if name in OF_CONSUMERS:
        return _consumer(ask, name, number)
    while not _held(ask):  # the first time there is no version before it, and so nothing gray
        _until(lambda: "/gray" not in _moving(ask), lambda: ask("GET", "/v1/apps/gray/status", None))
        ask("PUT", "/v2/apps/gray", GRAY_APP | {"env": {"VERSION": f"{number}.{time.monotonic()}"}})
        _until(lambda: _held(ask) or "/gray" not in _moving(ask), lambda: ask("GET", "/v1/apps/gray/status", None))
    return {"app_id": "gray"}, {"share": 0.2} if name == "changeGray" else None


def _held(ask: Ask) -> bool:
    """Whether the app has a gray rollout that waits for somebody."""
    return any(one["app"] == "/gray" and one["pausedBy"] for one in ask("GET", "/v1/gray", None)["gray"])


def _moving(ask: Ask) -> set[str]:
    return {app for one in ask("GET", "/v2/deployments", None) for app in one["affectedApps"]}


def _certificate(put_text: Callable[[str, str], object], name: str, number: int) -> Prepared:
    with tempfile.TemporaryDirectory() as folder:
        text = Authority(Path(folder)).made_for("gateway", f"{number}.certificate.test").read_text()
    if name == "deleteCertificate":
        put_text(f"/v1/certificates/c-{number}", text)
    return {"certificate": f"c-{number}"}, text if name == "setCertificate" else None


def _consumer(ask: Ask, name: str, number: int) -> Prepared:
    path = {"consumer": f"c-{number}", "key": ""}
    if name == "putConsumer":
        return path, {"groups": ["gold"]}
    ask("PUT", f"/v1/consumers/c-{number}", {"groups": []})
    if name == "revokeConsumerKey":
        path["key"] = ask("POST", f"/v1/consumers/c-{number}/keys", {})["id"]
    return path, {"use": "hmac"} if name == "addConsumerKey" else None


def _until(condition: Callable[[], bool], told: Callable[[], Any]) -> None:
    limit = time.monotonic() + GRAY_SECONDS
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"no gray rollout comes to be: {told()}")
        time.sleep(0.02)
