"""plan: which requests to send, and how fast."""

import msgspec

from coldchain.model.errors import InvalidDocument, Problem


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A Host header and a path; of several targets each gets its weight's share of the requests."""

    host: str
    path: str = "/"
    weight: float = 1.0


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All requests go to `address` (a name or an IP address) and `port`. Raises InvalidDocument for what cannot be.

    rate: requests per second. Shares from 0 to 1: `post_share` are POST, the others GET; `keep_alive_share` go over
    kept connections, the others over one of their own each; `slow_share` ask the test application for `slow_seconds`
    of service time (`?ms=`). A request that has no answer `timeout_seconds` after its scheduled time failed.
    """

    address: str
    port: int
    targets: tuple[Target, ...]
    rate: float = 300.0
    post_share: float = 0.5
    keep_alive_share: float = 0.5
    slow_share: float = 0.05
    slow_seconds: float = 1.0
    timeout_seconds: float = 10.0
    seed: int = 1

    def __post_init__(self) -> None:
        problems = [
            Problem(path=f"/{name}", reason=f"must be from 0 to 1, not {value}")
            for name in ("post_share", "keep_alive_share", "slow_share")
            if not 0 <= (value := getattr(self, name)) <= 1
        ]
        problems += [
            Problem(path=f"/{name}", reason=f"must be above 0, not {value}")
            for name in ("rate", "timeout_seconds")
            if (value := getattr(self, name)) <= 0
        ]
        if self.slow_share and self.slow_seconds >= self.timeout_seconds:
            problems.append(
                Problem(path="/slow_seconds", reason="must be below timeout_seconds, or each slow one fails")
            )
        if not self.targets or any(target.weight <= 0 for target in self.targets):
            problems.append(Problem(path="/targets", reason="needs at least one, each with a weight above 0"))
        if problems:
            raise InvalidDocument(problems)
