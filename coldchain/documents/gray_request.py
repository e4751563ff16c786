"""gray request: what the API is sent to change the share or the rules of a gray rollout."""

from contextlib import suppress
from typing import Annotated

from msgspec import Meta

from coldchain.documents.findings import Finding, Findings, TooMany
from coldchain.documents.gray_rules import rules_findings
from coldchain.documents.shape import read
from coldchain.model.base import Noun
from coldchain.model.errors import InvalidDocument
from coldchain.model.gray import GrayRules


class GrayChange(Noun, frozen=True, kw_only=True):
    """What is to be another one. `share`: of all requests; the rollout is held with it. `rules`: all of them."""

    share: Annotated[float, Meta(ge=0, le=1)] | None = None
    rules: GrayRules | None = None


def decode_gray_change(document: object) -> GrayChange:
    """Raises InvalidDocument with everything that is wrong."""
    findings, change = Findings(), None
    with suppress(TooMany):
        change = read(GrayChange, document, findings, {})
        if change is not None:
            if change.share is None and change.rules is None:
                findings.extend([Finding((), "needs share or rules", needs=(("share",), ("rules",)))])
            findings.extend(rules_findings(change.rules or (), ("rules",)))
    if problems := findings.problems(document):
        raise InvalidDocument(problems)
    assert change is not None, "nothing was read and nothing is wrong"
    return change
