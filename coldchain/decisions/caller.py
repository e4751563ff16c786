"""caller: who may do what. Ids are compared whole, segment by segment: `/shop-2` is not in `/shop`."""

from collections.abc import Iterable

from coldchain.model.caller import EVERYTHING, Caller, Role

RANKS: dict[Role, int] = {"viewer": 0, "owner": 1, "operator": 1, "admin": 2}
"""Who has a higher rank may do all that those below may. An owner is an operator whose group is not everything."""


def within(app_id: str, group: str) -> bool:
    """True for the group itself and all below it. Never for an id that could be read in two ways: with `..`, `.`, or
    two slashes in a row."""
    parts, above = app_id.split("/")[1:], group.split("/")[1:]
    if not app_id.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return group == EVERYTHING
    return group == EVERYTHING or parts[: len(above)] == above


def sees(caller: Caller, app_ids: Iterable[str]) -> bool:
    """True where all of these are in the caller's group; what is about no app in particular is everybody's."""
    return all(within(one, caller.group) for one in app_ids)


def refusal(caller: Caller, needed: Role, app_ids: Iterable[str]) -> str:
    """Why he may not do what needs a role and concerns these apps or groups; empty when he may."""
    if RANKS[caller.role] < RANKS[needed]:
        return f"{caller.name} is {caller.role}; this needs the role {needed}"
    outside = [one for one in app_ids if not within(one, caller.group)]
    if outside:
        what = "everything" if EVERYTHING in outside else ", ".join(sorted(outside)[:3])
        return f"{caller.name} has the group {caller.group}; this is about {what}"
    return ""
