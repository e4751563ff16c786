"""server: the API as something that is started and stopped."""

import errno

import structlog
from aiohttp import web

from coldchain.api.context import CONTEXT, Context
from coldchain.api.events import WHOLE_PLANS, WholePlans
from coldchain.api.guard import answer_errors, turn_away
from coldchain.api.metrics import COUNTERS, Counters
from coldchain.api.routes import add_routes
from coldchain.api.settings import ApiSettings
from coldchain.control.controller import Controller
from coldchain.documents.text import DOCUMENT_BYTES_MAX
from coldchain.model.errors import ColdchainError

ADDRESS_ERRORS = {
    errno.EADDRINUSE: ("something else listens there", "End that, or choose another port"),
    errno.EACCES: ("this user may not", "Choose a port from 1024 on"),
    errno.EADDRNOTAVAIL: ("this machine has no such address", "Choose one of its own addresses, such as 127.0.0.1"),
}

log = structlog.get_logger(__name__)


class ApiServer:
    """Serves a controller that was started. Port 0: any free one; `port` says which."""

    def __init__(self, controller: Controller, host: str, port: int, settings: ApiSettings | None = None) -> None:
        self._host = host
        self.port = port
        self._settings = settings or ApiSettings()
        self._context = Context(controller, self._settings)
        self.application = self._application()
        self._runner = web.AppRunner(
            self.application, access_log=None, shutdown_timeout=self._settings.shutdown_seconds
        )

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[answer_errors, turn_away], client_max_size=DOCUMENT_BYTES_MAX)
        application[CONTEXT] = self._context
        application[COUNTERS] = counters = Counters()
        self._context.controller.state.on_commit(counters.committed)
        application[WHOLE_PLANS] = WholePlans(self._context.controller.state.version_of)
        add_routes(application.router)
        application.on_shutdown.append(self._end_streams)
        return application

    @property
    def address(self) -> str:
        """As in a URL: an IPv6 address stands in brackets."""
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises ColdchainError naming the address when that cannot be."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            # Python 3.13 tries all addresses of a name, and gives no number when this machine has none of them.
            number = getattr(error, "errno", errno.EINVAL) or errno.EADDRNOTAVAIL
            why, todo = ADDRESS_ERRORS.get(number, (str(error), "Choose another address"))
            raise ColdchainError(f"The API cannot listen on {self.address}: {why}", todo=f"{todo}.") from error
        self.port = self._runner.addresses[0][1]
        self._context.address = self.address
        log.info("API listens", address=self.address)

    async def stop(self) -> None:
        """Answer what was asked, end the streams, and listen no more."""
        await self._runner.cleanup()

    async def _end_streams(self, application: web.Application) -> None:
        self._context.stopping.set()
        self._context.controller.events.wake()
