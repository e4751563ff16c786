"""network finding: something about addresses that is not as it should be."""

from typing import Literal

from coldchain.model.base import Noun

FindingKind = Literal[
    "removed node",
    "lost pool",
    "lost block",
    "overlap",
    "doubled address",
    "address not held",
    "address not attached",
]


class NetworkFinding(Noun, frozen=True, kw_only=True):
    """`subject`: the address, pool, block or node that it is about, `node` whose it is. `repair`: whether the check
    itself can put it right; else `todo` says who does. `passing`: it is so for a moment whenever a container starts or
    ends, and means something only where it stays."""

    kind: FindingKind
    subject: str
    node: str = ""
    says: str
    todo: str
    repair: bool = False
    passing: bool = False
