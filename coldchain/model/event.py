"""event: something that happened, with a sequence id that is never given twice."""

from coldchain.model.base import Noun


class AppMove(Noun, frozen=True, kw_only=True):
    """An app that a deployment moves, from one version to another; None: it is not there before, or not after."""

    app_id: str
    before: str | None
    after: str | None


class Event(Noun, frozen=True, kw_only=True):
    """`sequence` grows by one within a controller's term. `text`: the event as streams send it, encoded once for all
    who follow. `app_ids`: the apps, or groups, that it is about. `moves`: those of the deployment whose plan it has."""

    sequence: int
    type: str
    text: bytes
    app_ids: tuple[str, ...] = ()
    moves: tuple[AppMove, ...] = ()
