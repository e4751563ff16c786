"""environment: what an agent hands down to its executor, read from variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.model.errors import Rejected

UNITS_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}
"""Mesos's."""
AUTHORITY = "COLDCHAIN_AGENT_AUTHORITY"
"""The variable with the certificates of who vouches for agents, for those that tell their executors nothing of TLS."""
DURATION = re.compile(r"([0-9.e+-]+)([a-z]+)")


@dataclass(frozen=True, kw_only=True)
class ExecutorEnvironment:
    """`url` of the agent's executor API; `address`: the agent's own. `life`: a name that no other process has or had.
    `checkpoint`: the executor outlives its agent's process for `recovery_seconds`. `work_folder`: the agent's, which
    stays the same when the agent gets another id. Of an agent that speaks TLS: `authority` and `authority_file` vouch
    for it, the one given by the scheduler as PEM, the other by the agent; and what the executor is to show."""

    url: str
    address: str
    framework_id: str
    executor_id: str
    life: str
    work_folder: Path
    checkpoint: bool
    recovery_seconds: float
    backoff_seconds_max: float
    token: str = ""
    authority: str = field(default="", repr=False)
    authority_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


def read_environment(variables: Mapping[str, str]) -> ExecutorEnvironment:
    """Raises Rejected for an environment that is not of a Mesos agent."""
    try:
        sandbox, executor_id = variables["MESOS_SANDBOX"], variables["MESOS_EXECUTOR_ID"]
        name, _, place = variables["MESOS_SLAVE_PID"].partition("@")
        endpoint = variables.get("MESOS_AGENT_ENDPOINT") or place
        address = endpoint.rpartition(":")[0]
        work_folder, below, _ = sandbox.rpartition("/slaves/")
        if not below or not address:
            raise ValueError("no sandbox of an agent" if address else "no address of an agent")
        scheme = "https" if variables.get("LIBPROCESS_SSL_ENABLED", "") in ("1", "true") else "http"
        return ExecutorEnvironment(
            url=f"{scheme}://{endpoint}/{name}/api/v1/executor",
            address=address,
            framework_id=variables["MESOS_FRAMEWORK_ID"],
            executor_id=executor_id,
            life=f"{executor_id}:{sandbox.rpartition('/')[2]}",
            work_folder=Path(work_folder),
            checkpoint=variables.get("MESOS_CHECKPOINT") == "1",
            recovery_seconds=duration_seconds(variables.get("MESOS_RECOVERY_TIMEOUT", "15mins")),
            backoff_seconds_max=duration_seconds(variables.get("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs")),
            token=variables.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", ""),
            authority=variables.get(AUTHORITY, ""),
            authority_file=variables.get("LIBPROCESS_SSL_CA_FILE", ""),
            certificate_file=variables.get("LIBPROCESS_SSL_CERT_FILE", ""),
            key_file=variables.get("LIBPROCESS_SSL_KEY_FILE", ""),
        )
    except (KeyError, ValueError) as error:
        lacks = f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise Rejected(
            f"this environment is not that of a Mesos agent: {lacks}",
            todo="Agents start the executor by themselves, once the platform runs tasks there.",
        ) from error


def duration_seconds(text: str) -> float:
    """As Mesos writes durations: `15mins`. Raises ValueError."""
    found = DURATION.fullmatch(text)
    if found is None or found[2] not in UNITS_SECONDS:
        raise ValueError(f"{text!r} is no duration")
    return float(found[1]) * UNITS_SECONDS[found[2]]
