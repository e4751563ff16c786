"""version: an immutable snapshot of an app."""

from coldchain.model.app import App
from coldchain.model.base import Noun


class Version(Noun, frozen=True, kw_only=True):
    """One snapshot.

    `id` is the time it was made (ISO 8601, UTC, milliseconds), unique per app. `config_id` is the id of the version
    that last changed more than the number of instances: tasks are compared by it, so scaling or rolling back to a
    configuration that still runs restarts nothing. `image` is what the tag meant when the version was made
    (a digest or image id), set exactly once; None until resolved.
    """

    app: App
    id: str
    config_id: str
    image: str | None = None


class AppRecord(Noun, frozen=True, kw_only=True):
    """What is wanted of an app now: the version aimed at. Its absence means that the app is deleted."""

    app_id: str
    version_id: str
    target: str
    cause: str
