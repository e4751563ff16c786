"""settings of engine mesos."""

from dataclasses import dataclass, field

from coldchain.engines.mesos.agent_attributes import Containerizer
from coldchain.engines.mesos.resources import Amounts

EXECUTOR = Amounts(cpus=0.1, mem=64.0)


@dataclass(frozen=True, kw_only=True)
class MesosSettings:
    """How we appear to Mesos, and how we treat its offers."""

    name: str = "coldchain"
    """As operators see the framework."""

    user: str = "root"
    """As whom agents start executors: they need Docker."""

    roles: tuple[str, ...] = ("*",)
    """Roles of the framework: what is reserved for them is offered to it."""

    principal: str = ""
    """By which the framework is known, where masters authenticate."""

    webui_url: str = ""
    """Where operators who look at the framework are led."""

    failover_seconds: float = 7 * 86400.0
    """How long Mesos keeps our tasks while no controller is subscribed: longer than any outage of ours."""

    executor_command: tuple[str, ...] = ("coldchain", "executor")
    """Program and arguments, found on every agent."""

    executor_environment: dict[str, str] = field(default_factory=dict)
    """Variables of the executor, beside those of the agent."""

    executor: Amounts = EXECUTOR
    """What an executor takes of its agent."""

    containerizer: Containerizer = "executor"
    """Who runs tasks on agents that do not say so by their attribute."""

    pids_max: int = 0
    """Processes and threads of one container of an agent's own Docker containerizer."""

    hold_seconds: float = 10.0
    """How long offers are held that nothing waits for, or nothing more: what comes next needs no other round."""

    look_seconds: float = 30.0
    """How often a look is taken at what there is, while nothing waits."""

    launch_seconds: float = 20.0
    """How long a launch waits for an offer of its agent."""

    reconcile_seconds: float = 300.0
    """Between two questions to the master for all that it knows."""

    settle_seconds: float = 10.0
    """After a subscription: how long the answers to those questions may take until what was known before counts."""

    leave_seconds: float = 900.0
    """An agent that its operator takes away sooner than this is emptied."""
