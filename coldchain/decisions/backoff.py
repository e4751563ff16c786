"""backoff: when a configuration that failed may be launched again (Marathon's rule, keyed by configuration)."""

from coldchain.model.app import App
from coldchain.model.backoff import Backoff

STABLE_SECONDS = 60.0
"""A task that served this long clears the record of failures before its own is counted: it was a good configuration."""


def after_failure(
    backoff: Backoff | None, app: App, app_id: str, version_id: str, *, served: bool, served_seconds: float, now: float
) -> Backoff:
    """The record after one more failed task.

    The first failure of a configuration that has served costs no delay: a container that was killed is replaced at
    once. From the second on the delay is backoff_seconds × backoff_factor ^ (failures - 1), capped.
    """
    failures = 0
    if backoff is not None and backoff.version_id == version_id and served_seconds < STABLE_SECONDS:
        failures = backoff.failures
    failures += 1
    exponent = failures - (2 if served else 1)
    delay = 0.0
    if exponent >= 0:
        delay = min(app.max_launch_delay_seconds, _power(app.backoff_seconds, app.backoff_factor, exponent, app))
    return Backoff(app_id=app_id, target=app.target, version_id=version_id, failures=failures, until=now + delay)


def _power(base: float, factor: float, exponent: int, app: App) -> float:
    try:
        return base * factor**exponent
    except OverflowError:
        return app.max_launch_delay_seconds


def launch_allowed_at(backoff: Backoff | None, version_id: str) -> float:
    """Epoch seconds from which tasks of the configuration may be launched; 0 when there is nothing to wait for."""
    if backoff is None or backoff.version_id != version_id:
        return 0.0
    return backoff.until
