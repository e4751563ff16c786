"""traffic: what gateways say of the requests to instances, kept while a rollout needs it. Nothing of it is stored:
after a restart of the controller the window begins anew.
"""

from collections import deque

import msgspec

from coldchain.control.state import State
from coldchain.decisions.acceptance import WARM_SECONDS, WINDOW_SECONDS, Interval, Observed, total
from coldchain.model.rotation import GatewayReport
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS, Traffic
from coldchain.ports.clock import Clock

INTERVALS_MAX = 600
"""Of one deployment: ten gateways that report each second."""
CLASSES = len(LATENCY_BOUNDS_SECONDS) + 1
NONE = (0,) * CLASSES
CLEARED_SECONDS = 60.0
"""How often the counts of instances that are gone are forgotten."""


class _Window:
    """What was counted since a deployment began."""

    def __init__(self, deployment_id: str) -> None:
        self.deployment_id = deployment_id
        self.intervals: deque[Interval] = deque(maxlen=INTERVALS_MAX)
        self.before = Traffic()


class TrafficWatcher:
    """Told of every report. Only apps with a running deployment have a window."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._cleared_at = clock.monotonic()
        self._last: dict[tuple[str, str], Traffic] = {}
        self._first_seen: dict[str, float] = {}
        self._windows: dict[str, _Window] = {}

    def reported(self, report: GatewayReport) -> None:
        """Take in what a gateway counted since it last said so."""
        if not report.traffic:
            return
        self._clear()
        new: dict[str, list[Traffic]] = {}
        old: dict[str, list[Traffic]] = {}
        for name, counts in report.traffic.items():
            instance = self._state.instances.get(name)
            if instance is None:
                continue
            if len(counts.latencies) not in (0, CLASSES):
                counts = msgspec.structs.replace(counts, latencies=())  # of a gateway of another version
            # Who is seen for the first time had only a part of the interval: the others had other moments, too.
            last = self._last.get((report.gateway, name), counts)
            self._last[report.gateway, name] = counts
            wanted = self._state.wanted(instance.app_id)
            if wanted is None or instance.app_id not in self._state.running:
                continue
            side = new if instance.version_id == wanted.config_id else old
            side.setdefault(instance.app_id, []).append(self._warm(name, _since(last, counts)))
        for app_id in new.keys() | old.keys():
            window = self._window(app_id)
            interval = Interval(
                at=self._clock.monotonic(), new=total(new.get(app_id, ())), old=total(old.get(app_id, ()))
            )
            window.intervals.append(interval)
            window.before = total((window.before, interval.old))

    def observed(self, app_id: str) -> Observed:
        """What a decision on the app's running deployment looks at."""
        running, window = self._state.running.get(app_id), self._windows.get(app_id)
        if running is None or window is None or window.deployment_id != running.id:
            return Observed()
        since = self._clock.monotonic() - WINDOW_SECONDS
        while window.intervals and window.intervals[0].at < since:
            window.intervals.popleft()
        return Observed(intervals=tuple(window.intervals), before=window.before)

    def _window(self, app_id: str) -> _Window:
        running = self._state.running[app_id]
        window = self._windows.get(app_id)
        if window is None or window.deployment_id != running.id:
            window = self._windows[app_id] = _Window(running.id)
        return window

    def _warm(self, name: str, counts: Traffic) -> Traffic:
        """Without the latencies of an instance that has only begun to serve."""
        now = self._clock.monotonic()
        if now - self._first_seen.setdefault(name, now) >= WARM_SECONDS:
            return counts
        return msgspec.structs.replace(counts, latencies=())

    def _clear(self) -> None:
        """Forget instances that are gone and deployments that ended."""
        if self._clock.monotonic() < self._cleared_at + CLEARED_SECONDS:
            return
        self._cleared_at = self._clock.monotonic()
        instances, running = self._state.instances, self._state.running
        self._last = {key: counts for key, counts in self._last.items() if key[1] in instances}
        self._first_seen = {name: at for name, at in self._first_seen.items() if name in instances}
        self._windows = {app_id: window for app_id, window in self._windows.items() if app_id in running}


def _since(last: Traffic, counts: Traffic) -> Traffic:
    """What came on top of the last counts; all of it where counts fell, because then they began anew."""
    latencies = tuple(
        after - before for after, before in zip(counts.latencies or NONE, last.latencies or NONE, strict=True)
    )
    grown = Traffic(requests=counts.requests - last.requests, errors=counts.errors - last.errors, latencies=latencies)
    return counts if min(grown.requests, grown.errors, *latencies) < 0 else grown
