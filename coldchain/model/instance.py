"""instance: one wanted copy of an app, from the wish to the released address."""

from typing import Literal

from coldchain.model.base import Noun

Phase = Literal[
    "scheduled", "launching", "starting", "entering", "serving", "draining", "closing", "stopping", "stopped"
]


class Transition(Noun, frozen=True, kw_only=True):
    """One step of an instance's life: into which phase, when (seconds since the epoch), and why."""

    phase: Phase
    at: float
    cause: str


class Instance(Noun, frozen=True, kw_only=True):
    """One wanted copy.

    `version_id` is the configuration's id (Version.config_id). `task_id` never changes: a crash makes a new instance.
    `constraint_values`: what its agent said, when it was placed there, of the fields that the app's constraints name.
    A stopped instance stays on record until its address and ports may be given away again. `asked_to_leave`: who wants
    this very instance gone, in words; empty: nobody. `cannot_register`: of an app that registers itself, and its task
    said that it cannot, so the platform does. `streams_cut_at`: when gateways were told to end its streams, since its
    drain deadline was over; so many `streams_cut` they have ended.
    """

    id: str
    app_id: str
    version_id: str
    target: str
    task_id: str
    phase: Phase
    since: float
    created_at: float
    agent: str | None = None
    address: str | None = None
    host_ports: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()
    served: bool = False
    constraint_values: dict[str, str] = {}
    asked_to_leave: str = ""
    cannot_register: bool = False
    streams_cut_at: float | None = None
    streams_cut: int = 0
    history: tuple[Transition, ...] = ()

    @property
    def wanted(self) -> bool:
        """True while nobody decided that it must leave."""
        return self.phase in ("scheduled", "launching", "starting", "entering", "serving")

    @property
    def live(self) -> bool:
        """True while it has, or may have, a task: what maximum capacity counts."""
        return self.phase != "stopped"

    @property
    def in_rotation(self) -> bool:
        """True once all live gateways acknowledged it and until it is marked draining: what minimum capacity counts."""
        return self.phase == "serving"
