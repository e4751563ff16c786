"""kept address: one that a node holds, as its journal has it: what it may give, and what it gave."""

from coldchain.model.base import Noun


class KeptAddress(Noun, frozen=True, kw_only=True):
    """An address of `block`, in the node's reserve or given. `attachment`: to which it was given, empty until Docker
    has named it. `resting`: it is given to nobody yet, since somebody may still ask for who had it. `released`: the
    count of its last release on this node, 0 before any. `fixed`: it was asked for by name, and leaves the reserve
    first, since it may be asked for on another machine next."""

    address: str
    pool: str
    block: str
    given: bool = False
    attachment: str = ""
    resting: bool = False
    released: int = 0
    fixed: bool = False


class PoolStanding(Noun, frozen=True, kw_only=True):
    """What a node has of a pool. `reserve`: what it could give now; `borrowed`: of other nodes' blocks."""

    given: int = 0
    reserve: int = 0
    resting: int = 0
    blocks: int = 0
    borrowed: int = 0


class AddressStatus(Noun, frozen=True, kw_only=True):
    """How it stands with a node's addresses. `joined`: the store has it as a node that may hold some. `trouble`: why
    what was given is not told to the store. `doubled`: addresses of containers here that another node holds."""

    joined: bool = False
    trouble: str = ""
    pools: dict[str, PoolStanding] = {}
    doubled: dict[str, str] = {}
