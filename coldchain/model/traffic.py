"""traffic: what a gateway counted of the requests that an instance answered."""

from coldchain.model.base import Noun

LATENCY_BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the latency classes but the last, which is open."""


class Traffic(Noun, frozen=True, kw_only=True):
    """Counts that only grow, from the first request that a gateway sent the instance. Lower ones than before say that
    the gateway began anew (it was started afresh, or the endpoint had left).

    `errors`: answers with a status of 500 or above, and requests that the instance did not answer; a client that went
    away is none. `latencies`: requests by latency class, from the request sent to the instance to its whole answer;
    one longer than the bounds, empty for none.
    """

    requests: int = 0
    errors: int = 0
    latencies: tuple[int, ...] = ()


class TrafficNews(Noun, frozen=True, kw_only=True):
    """The counts of every instance that changed since an earlier mark of the same gateway, and the mark of now."""

    mark: int
    instances: dict[str, Traffic] = {}
