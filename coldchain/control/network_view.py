"""network view: what the store says of the container network as far as policy is concerned, kept as it changes."""

from coldchain.decisions.policy import Seen
from coldchain.documents.keys import ATTACHMENT, CONTAINER_NETWORK, NETWORK, NODE, POLICY, POOL
from coldchain.documents.stored import decode
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Node
from coldchain.model.policy import Policy
from coldchain.model.pool import Pool
from coldchain.ports.store import Listing, Store

Kept = Pool | ContainerNetwork | Node | Attachment | Policy
KINDS: dict[str, type[Kept]] = {
    POOL: Pool,
    CONTAINER_NETWORK: ContainerNetwork,
    NODE: Node,
    ATTACHMENT: Attachment,
    POLICY: Policy,
}


class NetworkView:
    """Empty until it is loaded."""

    def __init__(self) -> None:
        self._records: dict[str, Kept] = {}

    async def load(self, store: Store) -> None:
        """Anew. Raises Unavailable."""
        self.take(await store.list(NETWORK))

    def take(self, listing: Listing) -> None:
        """Anew, from all that is below NETWORK."""
        self._records = {}
        for entry in listing.entries:
            self.note(entry.key, entry.value)

    def note(self, key: str, value: bytes | None) -> bool:
        """A change. False: it is of something else, such as a block, which says nothing of who may talk."""
        kind = next((kind for prefix, kind in KINDS.items() if key.startswith(prefix)), None)
        if kind is None:
            return False
        if value is None:
            self._records.pop(key, None)
        else:
            self._records[key] = decode(value, kind)
        return True

    def seen(self, this: str = "") -> Seen:
        """`this`: the machine that looks."""
        records = self._records.values()
        policy = self._records.get(POLICY)
        return Seen(
            policy=policy if isinstance(policy, Policy) else Policy(),
            networks=tuple(one for one in records if isinstance(one, ContainerNetwork)),
            pools=tuple(one for one in records if isinstance(one, Pool)),
            attachments=tuple(one for one in records if isinstance(one, Attachment)),
            nodes=tuple(one for one in records if isinstance(one, Node)),
            this=this,
        )
