"""maintenance: which agents operators want back, and what they are answered."""

from collections.abc import Collection

from coldchain.clients.mesos.events import InverseOffer
from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.offer_book import OfferBook
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.base import Noun
from coldchain.ports.clock import Clock

MOVE_SECONDS = 60.0
"""How long what runs on an agent may take to move before its operator is told that it has not."""
SEND_AWAY_SECONDS = 5.0
"""Between two words to an executor that is to leave."""
DECLINED_SECONDS, ACCEPTED_SECONDS = 5.0, 60.0
"""After which Mesos asks again: what has not moved may move yet, and something may have come there since."""


class Wish(Noun, frozen=True, kw_only=True):
    """An operator wants an agent back from `start` on; `since`: when we were told. Seconds since the epoch."""

    id: str
    agent_id: str
    start: float
    since: float


class Answer(Noun, frozen=True, kw_only=True):
    """Whether the agent can be taken away, as things stand."""

    id: str
    accepted: bool


class Wishes:
    """Those that are not answered yet. An agent that has nothing of ours can be had at once. One that is not to be left
    yet gets no answer, nor does one that is just being left: then its operator is told no, until it is empty."""

    def __init__(self, leave_seconds: float) -> None:
        self.known: dict[str, Wish] = {}
        self._leave_seconds = leave_seconds

    def reset(self) -> None:
        """The subscription ended: all come again with the next one."""
        self.known.clear()

    def came(self, inverse_offers: Collection[InverseOffer], now: float) -> None:
        """From the master."""
        for one in inverse_offers:
            if one.agent_id is not None:
                wish = Wish(
                    id=one.id.value, agent_id=one.agent_id.value, start=one.unavailability.start.seconds, since=now
                )
                self.known[wish.id] = wish

    def rescinded(self, wish_id: str) -> str | None:
        """It is not wanted any more, or not then; the agent."""
        wish = self.known.pop(wish_id, None)
        return wish.agent_id if wish is not None else None

    def answers(self, in_use: Collection[str], now: float) -> list[Answer]:
        """What can be said by now, each once. `in_use`: the agents that have something of ours."""
        found = []
        for wish in self.known.values():
            leaving_since = max(wish.since, wish.start - self._leave_seconds)
            if wish.agent_id not in in_use:
                found.append(Answer(id=wish.id, accepted=True))
            elif now >= leaving_since + MOVE_SECONDS:
                found.append(Answer(id=wish.id, accepted=False))
        for answer in found:
            del self.known[answer.id]
        return found


class Maintenance:
    """Answers them: one whose answer is lost is asked for again, by the master or with the next subscription. And has
    our executors leave agents that Mesos drains: as long as one is there its agent goes on draining, and takes no task
    even after its operator has reactivated it."""

    def __init__(self, settings: MesosSettings, book: TaskBook, offers: OfferBook, link: Link, clock: Clock) -> None:
        self.wishes = Wishes(settings.leave_seconds)
        self._book = book
        self._offers = offers
        self._link = link
        self._clock = clock
        self._sent_away_at = 0.0

    async def tick(self) -> None:
        """Answer what can be answered by now."""
        if not self._link.up:
            return
        if self._clock.monotonic() >= self._sent_away_at + SEND_AWAY_SECONDS:
            self._sent_away_at = self._clock.monotonic()
            for agent_id in self._offers.drained_agents():
                await self.send_away(agent_id)
        if self.wishes.known:
            await self._answer()

    async def send_away(self, agent_id: str) -> None:
        """The executors of a drained agent, once nothing that they answer for runs."""
        if agent_id in self._book.agents_running():
            return
        for executor_id in self._offers.executors_on(agent_id):
            named = {"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}}
            await self._link.try_call("SHUTDOWN", shutdown=named)

    async def _answer(self) -> None:
        answers = self.wishes.answers(self._book.agents_in_use(), self._clock.now())
        for kind, accepted, seconds in (("ACCEPT", True, ACCEPTED_SECONDS), ("DECLINE", False, DECLINED_SECONDS)):
            ids = [{"value": one.id} for one in answers if one.accepted is accepted]
            if ids:
                content = {"inverse_offer_ids": ids, "filters": {"refuse_seconds": seconds}}
                await self._link.try_call(f"{kind}_INVERSE_OFFERS", **{f"{kind.lower()}_inverse_offers": content})
