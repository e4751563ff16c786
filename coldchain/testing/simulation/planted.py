"""planted: bugs made on purpose in the real decisions and loops, each switched on for a while, to prove that the
simulation finds such bugs. Each takes the place of one function and gives it back at the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from coldchain.control import reconciler, state
from coldchain.control.rotation import Publisher
from coldchain.control.state import State
from coldchain.control.tasks import TaskWatcher
from coldchain.decisions import deployment as deployments
from coldchain.decisions import gray as grays
from coldchain.decisions import group as groups
from coldchain.decisions import instance as lives
from coldchain.decisions import reconcile as decisions
from coldchain.decisions import rollout as rollouts
from coldchain.decisions import rotation as rotations
from coldchain.decisions import self_registration as own_registrations
from coldchain.decisions.actions import Action, Move
from coldchain.decisions.constraint import Neighbours
from coldchain.decisions.deployment import Step
from coldchain.decisions.health import Verdict, passed_before
from coldchain.decisions.instance import Drain
from coldchain.decisions.reconcile import Decision
from coldchain.decisions.rotation import GatewaySession
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App
from coldchain.model.errors import ColdchainError
from coldchain.model.instance import Instance, Phase
from coldchain.model.registration import ServiceEndpoint
from coldchain.model.rotation import Endpoint
from coldchain.ports.store import Change
from coldchain.testing.simulation.oracle import compared
from coldchain.testing.simulation.planting import Swaps, swapped
from coldchain.testing.simulation.ports import SimulatedEngine
from coldchain.testing.simulation.run import Result
from coldchain.testing.simulation.schedule import generate


def planted(name: str) -> AbstractContextManager[None]:
    """The bug of this name is there until the end of the block."""
    return swapped(PLANTED[name]())


def find(name: str, seeds: range) -> Result | None:
    """The first schedule that shows the bug; None when it is not found."""
    with planted(name):
        for seed in seeds:
            result, _ = compared(generate(seed))
            if result.violations:
                return result
    return None


def _stop_before_acknowledgement() -> Swaps:
    real = Publisher.waits_for

    def waits_for(self: Publisher, instance: Instance, weight: int) -> str:
        return real(self, instance, weight) if weight else ""

    return [(Publisher, "waits_for", waits_for)]


def _drain_skipped() -> Swaps:
    real = lives.drained

    def drained(instance: Instance, drain: Drain, now: float) -> tuple[Phase, str] | None:
        return ("stopping", "no drain") if instance.phase == "closing" else real(instance, drain, now)

    return [(lives, "drained", drained)]


def _second_launch_after_a_lost_reply() -> Swaps:
    real = decisions._launching

    def launching(view: View, one: Instance, seen: Seen, app: App, now: float) -> Iterator[Action]:
        if "was lost" in seen.trouble and (seen.task is None or seen.task.state == "staging"):
            yield Move(instance_id=one.id, phase="stopped", cause="the engine did not answer")
        else:
            yield from real(view, one, seen, app, now)

    return [(decisions, "_launching", launching)]


def _unready_counted_as_capacity() -> Swaps:
    real = deployments.step

    def step(app: App, config_id: str, instances: Sequence[Instance], **given: Any) -> Step:
        ready = ("starting", "entering")
        counted = [msgspec.structs.replace(one, phase="serving") if one.phase in ready else one for one in instances]
        return real(app, config_id, counted, **given)

    return [(deployments, "step", step)]


def _superseded_version_launched() -> Swaps:
    real = deployments.step

    def step(app: App, config_id: str, instances: Sequence[Instance], **given: Any) -> Step:
        found = real(app, config_id, instances, **given)
        waiting = {one.id for one in instances if one.phase == "scheduled"}
        return msgspec.structs.replace(found, leave=tuple(pair for pair in found.leave if pair[0] not in waiting))

    return [(deployments, "step", step)]


def _emptied_when_the_engine_errs() -> Swaps:
    real = TaskWatcher._troubled

    def troubled(self: TaskWatcher, error: ColdchainError) -> None:
        real(self, error)
        gone, self.tasks = self.tasks, {}
        self._changed({one.app_id for one in gone.values()})

    return [(TaskWatcher, "_troubled", troubled)]


def _emptied_when_a_gateway_errs() -> Swaps:
    real = Publisher._endpoints

    def endpoints(self: Publisher, app_id: str) -> dict[str, tuple[Endpoint, ...]]:
        found = real(self, app_id)
        silent = len(self.live()) < len(self.sessions)
        return dict.fromkeys(found, ()) if silent else found

    return [(Publisher, "_endpoints", endpoints)]


def _panic_threshold_removed() -> Swaps:
    real = rotations.endpoints

    def endpoints(wanted: Any, instances: Any, unhealthy: Any, marked: Any) -> dict[str, tuple[Endpoint, ...]]:
        return {
            name: tuple(msgspec.structs.replace(e, weight=0) if e.instance_id in unhealthy else e for e in found)
            for name, found in real(wanted, instances, unhealthy, marked).items()
        }

    return [(rotations, "endpoints", endpoints)]


def _action_before_the_first_reconciliation() -> Swaps:
    real = decisions.reconcile

    def reconcile(view: View, now: float) -> Decision:
        return real(msgspec.structs.replace(view, engine_known=True), now)

    return [(reconciler, "reconcile", reconcile)]


def _lost_compare_and_swap() -> Swaps:
    """Whatever is on record is overwritten, and what is in doubt is taken not to have happened."""

    def change(*, key: str, value: bytes | None, expected: int | None) -> Change:
        return Change(key=key, value=value)

    async def fresh(self: State) -> None:
        self._stale = False

    return [(state, "Change", change), (State, "fresh", fresh)]


def _stale_gateway_not_waited_for() -> Swaps:
    def live(sessions: Sequence[GatewaySession], monotonic: float) -> list[GatewaySession]:
        return [one for one in sessions if one.lease_until > monotonic + 4.0]

    return [(rotations, "live", live)]


def _rollback_launched_twice() -> Swaps:
    real = decisions.reconcile

    def reconcile(view: View, now: float) -> Decision:
        if view.deployment is not None and view.deployment.kind == "rollback":
            view = msgspec.structs.replace(view, deployment=msgspec.structs.replace(view.deployment, kind="replace"))
        return real(view, now)

    return [(reconciler, "reconcile", reconcile)]


def _brake_removed() -> Swaps:
    return [(reconciler, "judge", lambda brake, bad_since, total, now: brake)]


def _paused_rollout_goes_on() -> Swaps:
    real = deployments.step

    def step(app: App, config_id: str, instances: Sequence[Instance], **given: Any) -> Step:
        return real(app, config_id, instances, **(given | {"held": False}))

    return [(deployments, "step", step)]


def _steps_left_out() -> Swaps:
    def stage(deployment: object, app: App, former: object, *, in_force: bool = True) -> None:
        return None

    return [(rollouts, "stage", stage)]


def _old_version_not_kept() -> Swaps:
    return [(grays, "holds", lambda deployment, *, in_force: False)]


def _constraints_left_out() -> Swaps:
    return [(Neighbours, "excluded_by", lambda self, values: [])]


def _foreign_container_adopted() -> Swaps:
    return [(SimulatedEngine, "ours_only", False)]


def _layers_not_waited_for() -> Swaps:
    return [(groups, "pause", lambda deployment, holder, now: deployment)]


def _waiting_app_scaled_down() -> Swaps:
    real = deployments.step

    def step(app: App, config_id: str, instances: Sequence[Instance], **given: Any) -> Step:
        return real(app, config_id, instances, **(given | {"begun": True}))

    return [(deployments, "step", step)]


def _placed_on_a_drained_agent() -> Swaps:
    return [(reconciler.Reconciler, "offers", lambda self: self._tasks.offers)]


def _drained_before_others_serve() -> Swaps:
    real = deployments.step

    def step(app: App, config_id: str, instances: Sequence[Instance], *, asked: dict[str, str], **given: Any) -> Step:
        found = real(app, config_id, instances, asked=asked, **given)
        leave = {name: words for name, words in asked.items() if "drains" in words} | dict(found.leave)
        return msgspec.structs.replace(found, leave=tuple(leave.items()))

    return [(deployments, "step", step)]


def _drain_forgotten() -> Swaps:
    return [(View, "asked_to_leave", lambda self, one: one.asked_to_leave)]


def _orphan_taken_for_gone() -> Swaps:
    real = decisions._is_gone

    def is_gone(one: Instance, app: App, seen: Seen) -> bool:
        return real(one, app, seen) or (seen.task is not None and bool(seen.task.orphaned))

    return [(decisions, "_is_gone", is_gone)]


def _orphan_forgotten() -> Swaps:
    return [(View, "_orphaned", lambda self, one: "")]


def _orphan_killed_before_the_gateways_know() -> Swaps:
    real = decisions._clear_away

    def clear_away(view: View, one: Instance, seen: Seen, now: float) -> Iterator[Action]:
        return real(view, msgspec.structs.replace(one, history=()), seen, now)

    return [(decisions, "_clear_away", clear_away)]


def _registration_not_waited_for() -> Swaps:
    real = own_registrations.heard

    def heard(one: Instance, verdict: Verdict, service: str, matches: Mapping[str, ServiceEndpoint] | None) -> Verdict:
        return real(one, verdict, service, matches) if passed_before(one) else verdict

    return [(own_registrations, "heard", heard)]


def _silent_one_served() -> Swaps:
    real = own_registrations.heard

    def heard(one: Instance, verdict: Verdict, service: str, matches: Mapping[str, ServiceEndpoint] | None) -> Verdict:
        found = real(one, verdict, service, matches)
        return found if found.marked or not passed_before(one) else verdict

    return [(own_registrations, "heard", heard)]


def _registration_not_marked() -> Swaps:
    return [(own_registrations, "unmarked", lambda instances, matches: ())]


PLANTED: dict[str, Callable[[], Swaps]] = {
    "stop before acknowledgement": _stop_before_acknowledgement,
    "drain skipped": _drain_skipped,
    "second launch after a lost reply": _second_launch_after_a_lost_reply,
    "unready counted as capacity": _unready_counted_as_capacity,
    "superseded version launched": _superseded_version_launched,
    "emptied when the engine errs": _emptied_when_the_engine_errs,
    "emptied when a gateway errs": _emptied_when_a_gateway_errs,
    "panic threshold removed": _panic_threshold_removed,
    "action before the first reconciliation": _action_before_the_first_reconciliation,
    "lost compare-and-swap": _lost_compare_and_swap,
    "stale gateway not waited for": _stale_gateway_not_waited_for,
    "rollback launched twice": _rollback_launched_twice,
    "brake removed": _brake_removed,
    "paused rollout goes on": _paused_rollout_goes_on,
    "steps left out": _steps_left_out,
    "old version not kept beside a gray one": _old_version_not_kept,
    "constraints left out": _constraints_left_out,
    "foreign container adopted": _foreign_container_adopted,
    "layers not waited for": _layers_not_waited_for,
    "waiting app scaled down": _waiting_app_scaled_down,
    "placed on a drained agent": _placed_on_a_drained_agent,
    "drained before others serve": _drained_before_others_serve,
    "drain forgotten": _drain_forgotten,
    "orphan taken for gone": _orphan_taken_for_gone,
    "orphan forgotten": _orphan_forgotten,
    "orphan killed before the gateways know": _orphan_killed_before_the_gateways_know,
    "registration not waited for": _registration_not_waited_for,
    "silent one served": _silent_one_served,
    "registration not marked": _registration_not_marked,
}
