"""dubbo_qos: who leaves by its provider's own QoS server, and when configurators have to do it instead.

A provider that is told `offline` takes its announcements away itself and does not put them back, whatever becomes of
its session. Only ZooKeeper says that it has: an answer is believed for a moment, a refusal at once.
"""

from collections.abc import Iterable, Mapping

from coldchain.decisions.dubbo_switch import provides
from coldchain.decisions.rotation import LEAVING
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.dubbo import Announced
from coldchain.model.instance import Instance

ASKED_SECONDS = 5.0
"""How long a QoS server that does not answer is asked again."""
GONE_SECONDS = 5.0
"""How long ZooKeeper may go on having a provider that says that it is offline."""


class Attempt(Noun, frozen=True, kw_only=True):
    """What became of asking a provider. `answered_at` None: it has not said yes. `refused`: why it never will;
    `trouble`: why it gave no answer the last time."""

    began_at: float
    answered_at: float | None = None
    refused: str = ""
    trouble: str = ""


def place(app: App, instance: Instance) -> tuple[str, int] | None:
    """Where the QoS server of an instance listens; None where there is none, or it has no address yet."""
    if app.dubbo is None or app.dubbo.qos is None or instance.address is None:
        return None
    qos = app.dubbo.qos
    if qos.port_name is None:
        return instance.address, qos.port
    index = app.port_names.index(qos.port_name)
    return (instance.address, instance.ports[index]) if index < len(instance.ports) else None


def leaving(instances: Iterable[Instance], announced: Announced) -> tuple[Instance, ...]:
    """Those that have to be told: who leaves, and is announced."""
    return tuple(one for one in instances if one.phase in LEAVING and provides(one, announced))


def falls_back(attempt: Attempt, now: float) -> str:
    """Why configurators must switch a provider off that is announced; empty while it may still leave by itself."""
    if attempt.refused:
        return attempt.refused
    if attempt.answered_at is not None:
        gone = now - attempt.answered_at >= GONE_SECONDS
        return "it says that it is offline, and is announced all the same" if gone else ""
    if now - attempt.began_at < ASKED_SECONDS:
        return ""
    return attempt.trouble or f"no answer in {ASKED_SECONDS:g} s"


def begun(attempts: Mapping[str, Attempt], wanted: Iterable[str], now: float) -> dict[str, Attempt]:
    """The attempts at these instances, and at no others: who was not asked yet begins now."""
    return {name: attempts.get(name) or Attempt(began_at=now) for name in wanted}


def to_ask(attempts: Mapping[str, Attempt], now: float) -> tuple[str, ...]:
    """The instances whose QoS server has to be asked (again)."""
    return tuple(name for name, one in attempts.items() if one.answered_at is None and not falls_back(one, now))
