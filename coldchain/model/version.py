"""version: an immutable snapshot of an app."""

from coldchain.model.app import App
from coldchain.model.base import Noun


class Override(Noun, frozen=True, kw_only=True):
    """A rule of admission that somebody let a version pass: which, why, who, and when (seconds since the epoch)."""

    rule: str
    because: str
    caller: str
    at: float


class Version(Noun, frozen=True, kw_only=True):
    """One snapshot.

    `id` is the time it was made (ISO 8601, UTC, milliseconds), unique per app. `config_id` is the id of the version
    that last changed more than the number of instances: tasks are compared by it, so scaling or rolling back to a
    configuration that still runs restarts nothing. `image` is what the tag meant when the version was made
    (a digest or image id), set exactly once; None until resolved. `overrides`: what admission refused and somebody let
    through all the same.
    """

    app: App
    id: str
    config_id: str
    image: str | None = None
    overrides: tuple[Override, ...] = ()


class AppRecord(Noun, frozen=True, kw_only=True):
    """What is wanted of an app now: the version aimed at. Its absence means that the app is deleted."""

    app_id: str
    version_id: str
    target: str
    cause: str
