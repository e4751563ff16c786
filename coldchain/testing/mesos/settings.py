"""Settings of masters and agents of the lab, as data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FaultDomain:
    """Where a master or an agent stands."""

    region: str
    zone: str

    def flag(self) -> str:
        domain = {"region": {"name": self.region}, "zone": {"name": self.zone}}
        return json.dumps({"fault_domain": domain})


@dataclass(frozen=True, kw_only=True)
class MasterSettings:
    """Of one master. Times are much shorter than Mesos's own, so that tests see every fault within seconds."""

    registry: Literal["in_memory", "replicated_log"] = "in_memory"
    """In memory a master forgets its agents with its process; they register again with their old ids."""

    quorum: int = 1
    """Masters that must have written a change of the registry; with `replicated_log` more than half of them."""

    offer_interval_seconds: float = 0.05
    """Between rounds of offers; Mesos's own is 1."""

    agent_ping_timeout_seconds: float = 1.0
    agent_pings_missed_max: int = 3
    """An agent that misses so many is unreachable. Mesos's own are 5 times 15 s."""

    credentials: Mapping[str, str] = field(default_factory=dict)
    """Principal → secret of frameworks. With any, a framework must authenticate (HTTP basic)."""

    weights: Mapping[str, float] = field(default_factory=dict)
    domain: FaultDomain | None = None
    flags: Mapping[str, str] = field(default_factory=dict)
    """Any other flag of a master, by its name in Mesos's documentation; these count more."""

    def environment(self, credentials_file: str) -> dict[str, str]:
        """The flags as variables."""
        flags = {
            "registry": self.registry,
            "quorum": str(self.quorum),
            "allocation_interval": duration(self.offer_interval_seconds),  # their word
            "agent_ping_timeout": duration(self.agent_ping_timeout_seconds),
            "max_agent_ping_timeouts": str(self.agent_pings_missed_max),
        }
        if self.credentials:
            flags |= {
                "authenticate_http_frameworks": "true",
                "http_framework_authenticators": "basic",
                "credentials": f"file://{credentials_file}",
            }
        if self.weights:
            flags["weights"] = ",".join(f"{role}={weight}" for role, weight in self.weights.items())
        if self.domain:
            flags["domain"] = self.domain.flag()
        return as_variables(flags | dict(self.flags))


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """Of one agent."""

    hostname: str = ""
    """Empty: the lab gives one."""

    address: str = "127.0.0.1"
    """Where it listens, and where what runs on it is reached: one of its own can be cut off (see `cable`)."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    resources: str = ""
    """In Mesos's own form. Empty: cpus:4, mem:4096, disk:10000 and 500 ports that no other agent of the lab offers."""

    domain: FaultDomain | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of every executor's environment, beside COLDCHAIN_LAB_AGENT."""

    containerizers: str = "mesos"
    docker_socket: str = ""
    """For containerizers that name `docker`."""

    recovery_timeout_seconds: float = 900.0
    """An executor that is without its agent for so long ends. Mesos's own is 900 too."""

    executor_reregistration_timeout_seconds: float = 2.0
    executor_shutdown_grace_seconds: float = 5.0
    flags: Mapping[str, str] = field(default_factory=dict)
    """Any other flag of an agent, by its name in Mesos's documentation; these count more."""

    def all_flags(self, name: str, folder: str, ports_first: int) -> dict[str, str]:
        """What sets this agent apart, by the names of flags."""
        hostname = self.hostname or name
        ports = f"[{ports_first}-{ports_first + PORTS_PER_AGENT - 1}]"
        variables = {"COLDCHAIN_LAB_AGENT": hostname, **self.variables}
        flags = {
            "work_dir": f"{folder}/work",
            "runtime_dir": f"{folder}/run",
            "fetcher_cache_dir": f"{folder}/fetch",
            "docker_store_dir": f"{folder}/docker-store",
            "appc_store_dir": f"{folder}/appc-store",
            "hostname": hostname,
            "resources": self.resources or f"cpus:4;mem:4096;disk:10000;ports:{ports}",
            "executor_environment_variables": json.dumps(variables),
            "containerizers": self.containerizers,
            "recovery_timeout": duration(self.recovery_timeout_seconds),
            "executor_reregistration_timeout": duration(self.executor_reregistration_timeout_seconds),
            "executor_shutdown_grace_period": duration(self.executor_shutdown_grace_seconds),
        }
        if self.attributes:
            flags["attributes"] = ";".join(f"{key}:{value}" for key, value in self.attributes.items())
        if self.docker_socket:
            flags["docker_socket"] = self.docker_socket
        if self.domain:
            flags["domain"] = self.domain.flag()
        return flags | dict(self.flags)


PORTS_PER_AGENT = 500


def duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def as_variables(flags: Mapping[str, str]) -> dict[str, str]:
    return {f"MESOS_{name.upper()}": value for name, value in flags.items()}
