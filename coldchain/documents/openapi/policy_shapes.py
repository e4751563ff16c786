"""The shapes of what is answered about policy. Nouns for the document alone, as in `answers`."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.model.base import Noun
from coldchain.model.policy import Protocol, Verdict


class SideAnswer(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """One side of a rule, without what it does not say."""

    network: str = ""
    app: str = ""
    labels: dict[str, str] = {}
    cidr: str = ""
    machines: bool = False
    machine: str = ""


class RuleAnswer(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """A rule, without what it does not say."""

    name: str
    verdict: Verdict
    source: SideAnswer = SideAnswer()
    destination: SideAnswer = SideAnswer()
    protocol: Protocol = "any"
    ports: tuple[str, ...] = ()
    log: bool = False


class PolicyAnswer(Noun, frozen=True, kw_only=True):
    """All rules in their order. `nobody`: rules of which one side means no container now, with which side."""

    rules: tuple[RuleAnswer, ...]
    cut: bool
    revision: Annotated[int, Meta(ge=0)]
    nobody: dict[str, Literal["source", "destination"]]


class DecisionAnswer(Noun, frozen=True, kw_only=True):
    """What becomes of one new connection. `rule` null: a default decides, in words."""

    source: str
    destination: str
    verdict: Verdict
    rule: str | None
    words: str


class DecisionsAnswer(Noun, frozen=True, kw_only=True):
    """Each answer once, with an example of it."""

    decisions: tuple[DecisionAnswer, ...]
