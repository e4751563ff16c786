"""When a connection needs a sign of life, when it has ended without a word, and when to try again; without a clock."""

import enum
from typing import NamedTuple


class Beat(enum.Enum):
    NOTHING = enum.auto()
    SEND = enum.auto()
    LOST = enum.auto()


class Pace(NamedTuple):
    """Dubbo's own heartbeat is 60 s, and three times that is silence; a peer does not mind who asks more often."""

    heartbeat_seconds: float = 20.0
    silence_seconds_max: float = 60.0

    def beat(self, now: float, heard_at: float, sent_at: float) -> tuple[Beat, float]:
        """What to do now, and when to ask again. The peer may count what it hears just as what it is asked: both ways
        are kept alive."""
        lost_at = heard_at + self.silence_seconds_max
        if now >= lost_at:
            return Beat.LOST, now
        due_at = min(heard_at, sent_at) + self.heartbeat_seconds
        if now < due_at:
            return Beat.NOTHING, min(due_at, lost_at)
        return Beat.SEND, min(now + self.heartbeat_seconds, lost_at)


class Pause(NamedTuple):
    """Between tries to connect: doubled with each failure in a row."""

    seconds_min: float = 0.1
    seconds_max: float = 5.0

    def after(self, failures: int, chance: float) -> float:
        """`chance` in [0, 1): many clients of one provider do not come back in step."""
        if failures <= 0:
            return 0.0
        return float(min(self.seconds_max, self.seconds_min * 2 ** min(failures - 1, 30))) * (0.5 + chance / 2)


USUAL_PACE, USUAL_PAUSE = Pace(), Pause()
