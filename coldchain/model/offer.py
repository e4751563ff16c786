"""offer: what an agent has free; the common currency of all engines (Mesos's)."""

from coldchain.model.base import Noun


class Offer(Noun, frozen=True, kw_only=True):
    """Free resources of one agent. cpus in shares of a core, mem and disk in MiB; ports as inclusive ranges.

    `role`: for whom they are, `*` for all.

    `attributes`: what its operator says of the agent, for constraints to compare; numbers with at most three decimals
    and without zeros at their end. `region`, `zone`: where it stands, None where nobody said so. `draining`: it is to
    be empty, by its operator's word; nothing is placed there, and what is there leaves. `containerizer`: the Docker
    containerizer of Mesos runs tasks there, and nothing of ours is beside them.
    """

    agent: str
    target: str
    hostname: str
    cpus: float
    mem: float
    disk: float
    port_ranges: tuple[tuple[int, int], ...] = ()
    subnet: str | None = None
    attributes: dict[str, str] = {}
    region: str | None = None
    zone: str | None = None
    gpus: int = 0
    role: str = "*"
    draining: bool = False
    containerizer: bool = False
