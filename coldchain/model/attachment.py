"""attachment: a container's place in a network (Docker calls it an endpoint, which here is a service's)."""

from coldchain.model.base import Noun

BEGINNING_CHARACTERS = 11
"""So many of an attachment's id are in the names of the two ends of its link, which have 15 at most."""


class Attachment(Noun, frozen=True, kw_only=True):
    """A container that is in a network with addresses of its own. `id`: Docker's of its endpoint. `app_id` empty for a
    container that is nobody's instance. `labels`: what policy may select it by."""

    id: str
    node: str
    network: str
    address: str
    address6: str = ""
    app_id: str = ""
    task_id: str = ""
    labels: dict[str, str] = {}
