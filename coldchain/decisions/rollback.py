"""rollback: which version a rollback leads to when nobody names one."""

from collections.abc import Iterable

from coldchain.model.deployment import Deployment
from coldchain.model.version import Version


def last_good(current: Version, versions: Iterable[Version], deployments: Iterable[Deployment]) -> Version | None:
    """The latest version with another configuration than the current one that is not known to have failed.

    A configuration has failed if deployments on record aimed at it and none of them succeeded: after a rollout that was
    taken back by itself the latest other version is the bad one, and nobody wants that again.
    """
    mine = [one for one in versions if one.config_id != current.config_id]
    config_of = {one.id: one.config_id for one in mine}
    ended = [one for one in deployments if not one.running and one.to_version in config_of]
    tried = {config_of[one.to_version or ""] for one in ended}
    reached = {config_of[one.to_version or ""] for one in ended if one.state == "succeeded"}
    return max((one for one in mine if one.config_id not in tried - reached), key=lambda one: one.id, default=None)
