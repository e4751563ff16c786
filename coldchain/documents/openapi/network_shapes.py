"""The shapes of what is asked and answered about pools and networks of containers. Nouns for the document alone, as in
`answers`."""

from typing import Annotated

from msgspec import Meta

from coldchain.documents.openapi.answers import Count
from coldchain.documents.rules import NETWORK_NAME
from coldchain.model.base import Noun
from coldchain.model.network_finding import FindingKind

NameOfNetwork = Annotated[str, Meta(pattern=f"^{NETWORK_NAME.pattern}$")]


class AddPool(Noun, frozen=True, kw_only=True):
    """A pool to add. `block_length` null: blocks of 64 addresses."""

    name: NameOfNetwork
    cidr: str
    block_length: Annotated[int, Meta(ge=1, le=128)] | None = None
    nat_outgoing: bool | None = None


class ChangePool(Noun, frozen=True, kw_only=True):
    """What a pool is to be from now on; null: as it is."""

    disabled: bool | None = None
    nat_outgoing: bool | None = None


class CreateContainerNetwork(Noun, frozen=True, kw_only=True):
    """A network of containers to create. `pool6` empty: none of IPv6."""

    name: NameOfNetwork
    pool: str
    pool6: str | None = None
    isolated: bool | None = None


class BlocksOfPool(Noun, frozen=True, kw_only=True):
    """How many blocks there can be, null for more than anybody counts, and how many nodes have."""

    whole: Count | None
    used: Count


class PoolAnswer(Noun, frozen=True, kw_only=True):
    """A pool. `addresses` null: more than anybody counts. `held`: by nodes, of which `given` to containers."""

    name: str
    cidr: str
    block_length: Count
    nat_outgoing: bool
    disabled: bool
    addresses: Count | None
    given: Count
    held: Count
    blocks: BlocksOfPool
    networks: tuple[str, ...]


class BlockAnswer(Noun, frozen=True, kw_only=True):
    """A node's part of a pool. `borrowed`: what other nodes hold of it; `resting`: what a removed node had, and nobody
    has taken over yet. `node` empty: it was removed."""

    cidr: str
    node: str
    given: Count
    held: Count
    borrowed: Count
    resting: Count


class PoolDetail(PoolAnswer, frozen=True, kw_only=True):
    """A pool, with who has what of it."""

    node_blocks: tuple[BlockAnswer, ...]


class PoolList(Noun, frozen=True, kw_only=True):
    """All pools."""

    pools: tuple[PoolAnswer, ...]


class ContainerNetworkAnswer(Noun, frozen=True, kw_only=True):
    """A network of containers. `containers`: how many are in it."""

    name: str
    pool: str
    pool6: str
    isolated: bool
    containers: Count


class AttachmentAnswer(Noun, frozen=True, kw_only=True):
    """Who is in a network. `app` empty: it is nobody's instance."""

    id: str
    node: str
    address: str
    address6: str
    app: str
    task: str


class ContainerNetworkDetail(ContainerNetworkAnswer, frozen=True, kw_only=True):
    """A network, with who is in it."""

    attachments: tuple[AttachmentAnswer, ...]


class ContainerNetworks(Noun, frozen=True, kw_only=True):
    """All networks of containers."""

    networks: tuple[ContainerNetworkAnswer, ...]


class NetworkFindingAnswer(Noun, frozen=True, kw_only=True):
    """Something that is not as it should be, and who puts it right. `repair`: a repair does."""

    kind: FindingKind
    subject: str
    node: str
    says: str
    todo: str
    repair: bool


class NetworkFindings(Noun, frozen=True, kw_only=True):
    """What is wrong with the network's addresses."""

    findings: tuple[NetworkFindingAnswer, ...]


class NetworkRepaired(Noun, frozen=True, kw_only=True):
    """What was put right."""

    repaired: tuple[NetworkFindingAnswer, ...]
