"""recorder: the last decisions on each app with all that they looked at, in memory, for whoever asks afterwards why."""

from collections import deque
from collections.abc import Iterable

import msgspec

from coldchain.decisions.actions import Action
from coldchain.decisions.view import View
from coldchain.documents.bundle import Recorded, action_documents

DECISIONS_KEPT = 200
"""Of each app."""
INSTANCES_KEPT = 10_000
"""Of each app, over all its decisions: those on a large app are kept for a shorter time. A few MiB."""
ALL_INSTANCES_KEPT = 25_000
"""Of all apps together, 10 MiB: a rollout of hundreds of apps at once must not cost hundreds."""
APPS_KEPT = 500
"""Those on which something was decided last."""


class Recorder:
    """Keeps decisions that asked for something; one that asks for the same as the last is no news."""

    def __init__(self) -> None:
        self._of: dict[str, deque[tuple[float, View, tuple[Action, ...]]]] = {}
        self._instances = 0

    def record(self, view: View, now: float, actions: tuple[Action, ...]) -> None:
        """Take in a decision made at `now` (epoch seconds)."""
        if not actions:
            return
        kept = self._of[view.app_id] = self._of.pop(view.app_id, deque())
        if kept and kept[-1][2] == actions:
            return
        # The controller goes on writing to its table of versions.
        kept.append((now, msgspec.structs.replace(view, versions=dict(view.versions)), actions))
        self._instances += len(view.instances)
        while len(kept) > DECISIONS_KEPT or (len(kept) > 1 and _instances(kept) > INSTANCES_KEPT):
            self._instances -= len(kept.popleft()[1].instances)
        while len(self._of) > 1 and (len(self._of) > APPS_KEPT or self._instances > ALL_INSTANCES_KEPT):
            self._instances -= _instances(self._of.pop(next(iter(self._of))))

    def recorded(self, app_id: str) -> tuple[Recorded, ...]:
        """What is kept of an app, the oldest first."""
        kept = self._of.get(app_id, ())
        return tuple(Recorded(at=at, view=view, actions=action_documents(actions)) for at, view, actions in kept)


def _instances(kept: Iterable[tuple[float, View, tuple[Action, ...]]]) -> int:
    return sum(len(view.instances) for _, view, _ in kept)
