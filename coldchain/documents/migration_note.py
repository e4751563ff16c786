"""What is said of a part of a definition that comes from Marathon."""

from typing import Literal

from coldchain.model.base import Noun


class Note(Noun, frozen=True, kw_only=True):
    """Where, what is to be known of it, and what to do. `left out`: it does not carry over. `changed`: it is said in
    another way. `advice`: it carries over, and something is to be done or known. `rejected`: why there is no app."""

    path: str
    kind: Literal["left out", "changed", "advice", "rejected"]
    reason: str
    todo: str
