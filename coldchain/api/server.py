"""server: the API as something that is started and stopped."""

import errno
import os
import socket
from pathlib import Path

import structlog
from aiohttp import web

from coldchain.api.access import check_access, check_table
from coldchain.api.authentication import authenticate
from coldchain.api.context import CONTEXT, Context
from coldchain.api.events import WHOLE_PLANS, WholePlans
from coldchain.api.guard import answer_errors, turn_away
from coldchain.api.metrics import COUNTERS, Counters
from coldchain.api.passing import catch_up, name_leader, pass_on, passing
from coldchain.api.record import record
from coldchain.api.routes import add_routes
from coldchain.api.settings import ApiSettings
from coldchain.control.candidate import Candidate
from coldchain.control.controller import Controller
from coldchain.decisions.address import is_loopback
from coldchain.documents.text import DOCUMENT_BYTES_MAX
from coldchain.model.errors import ColdchainError

ADDRESS_ERRORS = {
    errno.EADDRINUSE: ("something else listens there", "End that, or choose another port"),
    errno.EACCES: ("this user may not", "Choose a port from 1024 on"),
    errno.EADDRNOTAVAIL: ("this machine has no such address", "Choose one of its own addresses, such as 127.0.0.1"),
}

MIDDLEWARES = (record, answer_errors, turn_away, catch_up, authenticate, pass_on, check_access)
"""Each around all that follow: nothing is done for anybody before he is known and allowed."""
SOCKET_PATH_BYTES_MAX = 107

log = structlog.get_logger(__name__)


class ApiServer:
    """Serves a controller that was started, or one of several, which stands by or leads. Port 0: any free one; `port`
    says which."""

    def __init__(
        self, served: Controller | Candidate, host: str, port: int, settings: ApiSettings | None = None
    ) -> None:
        self._host = host
        self.port = port
        self._settings = settings or ApiSettings()
        self._context = Context(served, self._settings, exposed=not is_loopback(host))
        self.application = self._application()
        self._runner = web.AppRunner(
            self.application, access_log=None, shutdown_timeout=self._settings.shutdown_seconds
        )

    def _application(self) -> web.Application:
        application = web.Application(middlewares=MIDDLEWARES, client_max_size=DOCUMENT_BYTES_MAX)
        application[CONTEXT] = self._context
        application[COUNTERS] = counters = Counters()
        self._context.controller.state.on_commit(counters.committed)
        application[WHOLE_PLANS] = WholePlans(lambda *named: self._context.controller.state.version_of(*named))
        if self._context.candidate is not None:
            self._context.candidate.on_controller = self._change_over
            application.on_response_prepare.append(name_leader)
            application.cleanup_ctx.append(passing)
        add_routes(application.router)
        check_table(application.router)
        application.on_shutdown.append(self._end_streams)
        return application

    def _change_over(self, controller: Controller) -> None:
        controller.state.on_commit(self.application[COUNTERS].committed)
        self._context.change_over(controller)

    @property
    def address(self) -> str:
        """As in a URL: an IPv6 address stands in brackets."""
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises ColdchainError naming the address when that cannot be."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port, ssl_context=self._settings.tls).start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            # Python 3.13 tries all addresses of a name, and gives no number when this machine has none of them.
            number = getattr(error, "errno", errno.EINVAL) or errno.EADDRNOTAVAIL
            why, todo = ADDRESS_ERRORS.get(number, (str(error), "Choose another address"))
            raise ColdchainError(f"The API cannot listen on {self.address}: {why}", todo=f"{todo}.") from error
        self.port = self._runner.addresses[0][1]
        self._context.address = self.address
        if self._settings.socket is not None:
            await self._listen_beside(self._settings.socket)
        log.info("API listens", address=self.address, tls=self._settings.tls is not None)

    async def _listen_beside(self, path: Path) -> None:
        """By a socket that root alone can open, whatever stood there: one controller at a time has the data folder. It
        is made under another name, so that nobody ever finds one with wider rights."""
        made = path.with_name(path.name + ".new")
        if len(os.fsencode(made)) > SOCKET_PATH_BYTES_MAX:
            log.warning("no socket for this machine: its path is too long", path=str(path))
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.unlink(missing_ok=True)
            listening.bind(str(made))
            made.chmod(0o600)
            listening.listen()
            made.replace(path)
            await web.SockSite(self._runner, listening).start()
        except OSError as error:
            listening.close()
            await self._runner.cleanup()
            raise ColdchainError(
                f"The API cannot listen on {path}: {error}", todo="Look at the rights of its folder."
            ) from error

    async def stop(self) -> None:
        """Answer what was asked, end the streams, and listen no more."""
        if self._settings.socket is not None:
            self._settings.socket.unlink(missing_ok=True)
        await self._runner.cleanup()

    async def _end_streams(self, application: web.Application) -> None:
        self._context.stopping.set()
        self._context.controller.events.wake()
