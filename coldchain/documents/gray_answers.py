"""gray answers: what the API says of a gray rollout."""

from typing import Any

from msgspec import to_builtins

from coldchain.decisions.acceptance import Observed
from coldchain.documents.answers import timestamp, traffic_answer
from coldchain.model.app import App
from coldchain.model.deployment import Deployment


def gray_answer(deployment: Deployment, app: App, observed: Observed, *, in_force: bool) -> dict[str, Any]:
    """A running deployment that shares requests out, or takes one back that did."""
    gray = deployment.gray
    assert gray is not None
    return {
        "app": deployment.app_id,
        "deploymentId": deployment.id,
        "state": gray.state,
        "mark": gray.mark,
        "version": gray.version,
        "formerVersion": gray.normal or None,
        "share": gray.share,
        "rules": to_builtins(gray.rules),
        "inForce": in_force,
        "stepsDone": deployment.steps_done,
        "steps": [{"share": one.share or 0.0, "pauseSeconds": one.pause_seconds} for one in app.rollout.steps],
        "pausedBy": deployment.paused_by,
        "resumesAt": timestamp(deployment.resumes_at) if deployment.resumes_at is not None else None,
        "traffic": traffic_answer(observed),
    }
