"""lost nodes: takes away the routes of who is lost, where the routing daemon alone would wait.

By silence a machine that is lost looks like one whose daemon was killed and comes back at once: only the machine itself
can tell, and it does by whatever it answers.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from coldchain.decisions.routing import fallen_silent
from coldchain.model.errors import ColdchainError
from coldchain.model.route_plan import RoutePlan
from coldchain.ports.clock import Clock
from coldchain.ports.network import Reach, RoutingDaemon

LOOK_SECONDS = 0.2
"""With BFD's own time and that of the question a machine is given up well within a second."""
IDLE_SECONDS = 2.0
"""Where nobody uses BFD."""

log = structlog.get_logger(__name__)


class LostNodes:
    """`plan`: what the daemon goes by now; None: nothing."""

    def __init__(self, daemon: RoutingDaemon, reach: Reach, plan: Callable[[], RoutePlan | None], clock: Clock) -> None:
        self._daemon = daemon
        self._reach = reach
        self._plan = plan
        self._clock = clock
        self._heard: Mapping[str, bool] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            plan = self._plan()
            if plan is None or plan.bfd_interval_ms is None:
                self._heard = {}
                await self._clock.sleep(IDLE_SECONDS)
                continue
            await self.look(plan)
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self, plan: RoutePlan) -> None:
        """Once. A daemon that does not answer says nothing of others."""
        try:
            heard = await self._daemon.heard()
        except ColdchainError:
            self._heard = {}
            return
        silent = fallen_silent(self._heard, heard)
        self._heard = heard
        names = {session.address: session.name for family in plan.families for session in family.sessions}
        asked = [address for address in silent if address in names]
        answers = await asyncio.gather(*(self._reach.answers(address) for address in asked))
        for address, answered in zip(asked, answers, strict=True):
            if not answered:
                await self._withdraw(names[address], address)

    async def _withdraw(self, session: str, address: str) -> None:
        log.warning(
            "nothing is heard of a node and it does not answer: its routes go", session=session, address=address
        )
        try:
            await self._daemon.withdraw(session)
        except ColdchainError as error:
            log.warning("its routes stay for some seconds", session=session, error=str(error))
