"""agent: what an operator has decided about an agent."""

from coldchain.model.base import Noun


class AgentDrain(Noun, frozen=True, kw_only=True):
    """An agent is to be empty: nothing is placed on it, and what is there leaves once something else serves in its
    place. `since` in seconds since the epoch; `caller`: who asked for it."""

    target: str
    agent: str
    since: float
    caller: str

    def __str__(self) -> str:
        return f"{self.caller} drains {self.agent}"
