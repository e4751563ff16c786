"""view: all that a decision about one app looks at."""

from coldchain.decisions.acceptance import Observed
from coldchain.decisions.health import Verdict
from coldchain.model.backoff import Backoff
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance
from coldchain.model.task import TaskFailure, TaskStatus
from coldchain.model.version import Version


class Seen(Noun, frozen=True, kw_only=True):
    """What is observed of one instance.

    `task` None: a full listing of the engine does not have it. `launch_refused`: why the engine will not start it.
    `launch_pending`: it was told to and has not answered, or answered after the last full listing began, so that a
    listing without the task says nothing.
    `acknowledged`: every live gateway works by the weight that its phase means, and the registry has it so (True where
    there is none to ask).
    `lingers`: it is announced to consumers although it has stopped, so that its address must not be given away yet.
    `in_flight`, `streams`, `cut` as in `instance.Drain`. `trouble`: what it waits for or what failed, in words, for
    those who ask why.
    """

    task: TaskStatus | None = None
    launch_refused: str | None = None
    verdict: Verdict = Verdict(standing="unknown")
    launch_pending: bool = False
    trouble: str = ""
    acknowledged: bool = False
    in_flight: int | None = 0
    streams: int = 0
    cut: int = 0
    lingers: bool = False


class View(Noun, frozen=True, kw_only=True):
    """All that a decision about one app looks at. `versions` has those of its instances, by configuration id too.

    `wanted` None: the app is deleted. `stopping`: the platform is going down, nothing is wanted of any app.
    `image_failure`: why the image cannot be had, as of the last try. `engine_trouble`: why the engine does not answer.
    `failure`: the last failed task. `brake`: why nothing may be killed or replaced, empty when it may.
    `traffic`: what the gateways counted since the running deployment began.
    `drains`: the agents that are to be empty, and who wants that, in words.
    `gray_in_force`: every live gateway works by what the running deployment says of requests to its two versions.
    `needed`: the versions of the app that versions of groups need; they stay on record when it is deleted.
    `quarantine_seconds`: how long a stopped instance's address stays unused. `out_of_touch_seconds`: how long while a
    gateway may still send requests there; 0 where none may.
    """

    app_id: str
    engine_known: bool
    wanted: Version | None
    stopping: bool = False
    versions: dict[str, Version]
    instances: tuple[Instance, ...]
    seen: dict[str, Seen]
    brake: str = ""
    deployment: Deployment | None = None
    backoff: Backoff | None = None
    failure: TaskFailure | None = None
    image_failure: str = ""
    engine_trouble: str = ""
    traffic: Observed = Observed()
    gray_in_force: bool = True
    needed: frozenset[str] = frozenset()
    drains: dict[str, str] = {}
    quarantine_seconds: float = 20.0
    out_of_touch_seconds: float = 0.0

    def asked_to_leave(self, one: Instance) -> str:
        """Who wants this very instance gone, or its agent empty, or that nobody answers for it; empty: it may stay."""
        return one.asked_to_leave or self.drains.get(one.agent or "", "") or self._orphaned(one)

    def _orphaned(self, one: Instance) -> str:
        seen = self.seen.get(one.id)
        if seen is None or seen.task is None or seen.task.terminal or not seen.task.orphaned:
            return ""
        return f"no {seen.task.orphaned} answers for it: {seen.task.message}"
