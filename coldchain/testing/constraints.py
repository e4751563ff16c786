"""constraints: what Marathon says of an agent, in plain words: the reference for tests and simulations."""

import re
from collections import Counter
from collections.abc import Sequence


def allows(operator: str, value: str | None, offered: str | None, placed: Sequence[str], wanted: int) -> bool:
    """Whether an instance may go to an agent with the value `offered` (None: it has none), where others, the oldest
    first, are on agents with the values `placed`, and `wanted` are wanted in all."""
    if offered is None:
        return operator == "UNLIKE"
    same = placed.count(offered)
    match operator:
        case "UNIQUE":
            return offered not in placed
        case "CLUSTER":
            return offered == value if value else not placed or placed[0] == offered
        case "LIKE":
            return re.fullmatch(value or "", offered) is not None
        case "UNLIKE":
            return re.fullmatch(value or "", offered) is None
        case "IS":
            return offered == value
        case "MAX_PER":
            return same < int(value or 0)
    if value is None:
        return True
    groups = int(value)
    if not same:
        return len(set(placed)) < groups
    extra_allowed = wanted % groups
    extra_used = sum(max(0, count - wanted // groups) for count in Counter(placed).values())
    return same < wanted // groups or (same == wanted // groups and extra_used < extra_allowed)
