"""shares: divides each limit among the live gateways by what they report, and says to each what is its own.

Nothing of it is stored: after a restart of the controller gateways go on with the shares they have, and report them.
"""

from collections.abc import Callable, Iterable

from coldchain.decisions.share import OTHERS, allowed, divide, least, share_of, smoothed, wanted
from coldchain.model.limit import LimitUse
from coldchain.model.rotation import GatewayReport
from coldchain.ports.clock import Clock


class _Known:
    """What a gateway said last, and by which shares it may be working: what it said or was told since."""

    def __init__(self) -> None:
        self.at = 0.0
        self.use: dict[str, LimitUse] = {}
        self.wishes: dict[str, float] = {}
        self.in_force: dict[str, float] = {}
        self.told: dict[str, float] | None = None
        self.news = True

    def most(self, limit: str) -> float:
        """By which part of a limit it may be working."""
        return self.in_force.get(limit, self.in_force.get(OTHERS, 0.0))

    def hears(self, told: dict[str, float]) -> dict[str, float]:
        """It is told this, if the answer arrives."""
        for limit in (*self.use, *told, OTHERS):
            self.in_force[limit] = max(self.most(limit), share_of(told, limit))
        self.told, self.news = told, False
        return told

    def says(self, use: dict[str, LimitUse], now: float) -> None:
        """It reports."""
        seconds = now - self.at
        self.wishes = {
            name: smoothed(self.wishes.get(name), wanted(one, self.use.get(name), seconds)) for name, one in use.items()
        }
        heard = self.told is not None and all(one.share == share_of(self.told, name) for name, one in use.items())
        others = self.told if heard and use and self.told is not None else self.in_force
        kept = {OTHERS: share_of(others, OTHERS)} if self.told is not None else {}
        self.in_force = {name: one.share for name, one in use.items()} | kept
        self.at, self.use, self.news = now, use, True


class ShareKeeper:
    """Told of every report. `live` names the gateways whose lease runs."""

    def __init__(self, clock: Clock, live: Callable[[], Iterable[str]]) -> None:
        self._clock = clock
        self._live = live
        self._known: dict[str, _Known] = {}

    def reported(self, report: GatewayReport) -> None:
        """Take in what a gateway's limits were asked for."""
        if report.limits is not None:
            self._known.setdefault(report.gateway, _Known()).says(report.limits, self._clock.monotonic())

    def shares(self, gateway: str) -> dict[str, float]:
        """By limit, as `share_of` reads them, divided anew with each report that told what limits were asked for. It
        counts as told."""
        live = set(self._live()) | {gateway}
        self._known = {name: known for name, known in self._known.items() if name in live}
        known = self._known.setdefault(gateway, _Known())
        if known.told is not None and not known.news:
            return known.told
        if len(live) == 1:
            return known.hears({})
        uses = {name: use for one in self._known.values() for name, use in one.use.items()}
        if live - self._known.keys():
            # The controller was just started: until all have said what they have, everything stays as it is.
            return known.hears(dict.fromkeys((*uses, OTHERS), least(len(live))) | known.in_force)
        return known.hears({name: self._share(gateway, name, uses.get(name)) for name in (*uses, OTHERS)})

    def _share(self, gateway: str, limit: str, use: LimitUse | None) -> float:
        target = divide({name: one.wishes.get(limit, 0.0) for name, one in self._known.items()}, not use or use.single)
        others = sum(one.most(limit) for name, one in self._known.items() if name != gateway)
        told = self._known[gateway].told
        current = told.get(limit) if told is not None else None
        return allowed(target[gateway], current, others, len(self._known))
