"""The shapes of what is answered about gray rollouts. Nouns for the document alone, as in `answers`."""

from typing import Annotated

from msgspec import Meta

from coldchain.documents.openapi.answers import Count, Time
from coldchain.documents.openapi.own_answers import Seconds, TrafficStatus
from coldchain.model.base import Noun
from coldchain.model.deployment import Holder
from coldchain.model.gray import GrayRule, GrayState

Share = Annotated[float, Meta(ge=0, le=1)]


class GrayStep(Noun, frozen=True, kw_only=True):
    """A share of the requests, and how long the rollout pauses with it; null: until it is resumed."""

    share: Share
    pause_seconds: Seconds | None


class GrayStatus(Noun, frozen=True, kw_only=True):
    """A gray rollout that runs. `state`: requests are shared out, or all go to the new version (`promoted`) or to the
    old one (`aborted`). `in_force`: every live gateway works by it. `former_version` null: several are old."""

    app: str
    deployment_id: str
    state: GrayState
    mark: str
    version: str
    former_version: str | None
    share: Share
    rules: tuple[GrayRule, ...]
    in_force: bool
    steps_done: Count
    steps: tuple[GrayStep, ...]
    paused_by: Holder | None
    resumes_at: Time | None
    traffic: TrafficStatus


class GrayRollouts(Noun, frozen=True, kw_only=True):
    """All that run."""

    gray: tuple[GrayStatus, ...]
