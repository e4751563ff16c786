"""leader: the one of several controllers that decides, writes and acts."""

from coldchain.model.base import Noun


class Leader(Noun, frozen=True, kw_only=True):
    """What stands under the key of the leader. `name`: of the candidate, new with each start of its process.

    `url`: where its API is, for the other controllers and for whom they send there. `secret`: by it the leader knows
    them. Who can read the store knows it, and nobody else; it ends with the leader.
    """

    name: str
    url: str
    secret: str

    @property
    def address(self) -> str:
        """HOST:PORT, as Marathon shows a leader."""
        return self.url.partition("://")[2]
