"""server: the registry's HTTP API as something that is started and stopped."""

import asyncio
import ipaddress
from collections.abc import Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from coldchain.decisions.address import is_loopback
from coldchain.decisions.caller import refusal
from coldchain.model.caller import EVERYTHING, Caller, Role
from coldchain.model.errors import ColdchainError, Conflict, Unavailable
from coldchain.registry.server import agent, catalog, keys
from coldchain.registry.server.content import Content
from coldchain.registry.server.exchange import CONTENT

SHUTDOWN_SECONDS = 2.0

Known = Callable[[str], Caller | None]
"""Whose token it is."""

log = structlog.get_logger(__name__)


async def _no_acl(request: web.Request) -> web.Response:
    return web.Response(status=401, text="ACL support disabled")


async def _one_node(request: web.Request) -> web.Response:
    return web.Response(status=501, text="This registry has one node: use /v1/agent/service/register")


ROUTES = (
    ("GET", "/v1/agent/self", agent.show_self),
    ("GET", "/v1/agent/members", agent.list_members),
    ("GET", "/v1/agent/services", agent.list_services),
    ("GET", "/v1/agent/service/{id:.+}", agent.show_service),
    ("GET", "/v1/agent/checks", agent.list_checks),
    ("GET", "/v1/agent/health/service/{by:name|id}/{name:.+}", agent.show_health),
    ("PUT", "/v1/agent/maintenance", agent.maintain_node),
    ("PUT", "/v1/agent/service/register", agent.register_service),
    ("PUT", "/v1/agent/service/deregister/{id:.+}", agent.deregister_service),
    ("PUT", "/v1/agent/service/maintenance/{id:.+}", agent.maintain_service),
    ("PUT", "/v1/agent/check/register", agent.register_check),
    ("PUT", "/v1/agent/check/deregister/{id:.+}", agent.deregister_check),
    ("PUT", "/v1/agent/check/{verb:pass|warn|fail}/{id:.+}", agent.report),
    ("PUT", "/v1/agent/check/update/{id:.+}", agent.update_check),
    ("GET", "/v1/catalog/datacenters", catalog.list_datacenters),
    ("GET", "/v1/catalog/nodes", catalog.list_nodes),
    ("GET", "/v1/catalog/services", catalog.list_services),
    ("GET", "/v1/catalog/service/{name:.*}", catalog.list_service),
    ("GET", "/v1/catalog/node/{name:.*}", catalog.show_node),
    ("PUT", "/v1/catalog/register", _one_node),
    ("PUT", "/v1/catalog/deregister", _one_node),
    ("GET", "/v1/health/service/{name:.*}", catalog.list_health),
    ("GET", "/v1/health/checks/{name:.*}", catalog.list_checks),
    ("GET", "/v1/health/state/{name:.*}", catalog.list_state),
    ("GET", "/v1/health/node/{name:.*}", catalog.list_node_checks),
    ("GET", "/v1/status/leader", catalog.show_leader),
    ("GET", "/v1/status/peers", catalog.list_peers),
    ("GET", "/v1/kv/{key:.*}", keys.get_key),
    ("PUT", "/v1/kv/{key:.*}", keys.put_key),
    ("DELETE", "/v1/kv/{key:.*}", keys.delete_key),
    ("PUT", "/v1/session/create", keys.create_session),
    ("PUT", "/v1/session/destroy/{id}", keys.destroy_session),
    ("PUT", "/v1/session/renew/{id}", keys.renew_session),
    ("GET", "/v1/session/info/{id}", keys.show_session),
    ("GET", "/v1/session/list", keys.list_sessions),
    ("GET", "/v1/session/node/{name:.*}", keys.list_node_sessions),
    ("PUT", "/v1/txn", keys.transact),
    ("*", "/v1/acl/{rest:.*}", _no_acl),
)


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes plain text with Consul's status, which its clients read."""
    try:
        return await handler(request)
    except (Unavailable, Conflict) as error:
        log.warning("the registry cannot write", error=str(error))
        return web.Response(status=500, text=f"No cluster leader: {error}")
    except ColdchainError as error:
        return web.Response(status=error.status, text=str(error))
    except web.HTTPMethodNotAllowed as error:
        allow = ",".join(["OPTIONS", *sorted(error.allowed_methods - {"HEAD", "OPTIONS"})])
        return web.Response(status=405, text=f"method {request.method} not allowed", headers={"Allow": allow})
    except web.HTTPRequestEntityTooLarge as error:
        too_large = f"Request body too large, max size: {keys.VALUE_BYTES_MAX} bytes"
        return web.Response(status=413, text=error.text if "Transaction" in (error.text or "") else too_large)
    except web.HTTPException as error:
        return web.Response(status=error.status, text=error.reason)
    except Exception:
        if request.transport is None:
            raise  # the client has gone; nobody is left to answer
        log.exception("request failed", method=request.method, path=request.path)
        return web.Response(status=500, text="An error of the registry itself; the controller's log has it")


@web.middleware
async def _turn_away(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Web pages have no business here: they would read and change as whoever looks at them."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("none", "same-origin") or "Origin" in request.headers:
        return web.Response(status=403, text="A web page may not use this registry")
    if not _names_this_machine(request):
        return web.Response(status=403, text="Address this registry by its IP address or as localhost")
    return await handler(request)


def _names_this_machine(request: web.Request) -> bool:
    """A page can give its own name our loopback address, but not an address as its name. Where not only this machine
    can reach us, names are the operator's to give."""
    place = request.get_extra_info("sockname")
    host = request.headers.get("Host")
    if place is None or host is None or not ipaddress.ip_address(place[0]).is_loopback:
        return True
    try:
        name = URL(f"http://{host}").host or ""
        return name == "localhost" or name.endswith(".localhost") or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _token(request: web.Request) -> str:
    bearer = request.headers.get("Authorization", "")
    return request.headers.get("X-Consul-Token") or bearer.removeprefix("Bearer ").strip()


class RegistryServer:
    """Serves content that was loaded. Port 0: any free one; `port` says which. `exposed`: others than this machine
    reach it; then who asks needs a token that `known` knows, a viewer's to read and an operator's to change."""

    def __init__(self, content: Content, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.exposed = not is_loopback(host)
        self.known: Known = lambda text: None
        self._content = content
        application = web.Application(
            middlewares=[_answer_errors, _turn_away, self._ask], client_max_size=keys.VALUE_BYTES_MAX
        )
        application[CONTENT] = content
        for method, path, handler in ROUTES:
            if method == "GET":
                application.router.add_get(path, handler)
            else:
                application.router.add_route(method, path, handler)
        application.on_shutdown.append(self._end_waits)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)

    @web.middleware
    async def _ask(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Before any handler; in Consul's words and by its status, which its clients read."""
        if self.exposed:
            caller = self.known(_token(request))
            needed: Role = "viewer" if request.method in ("GET", "HEAD") else "operator"
            if why := refusal(caller, needed, [EVERYTHING]) if caller else "no token that is known here":
                return web.Response(status=403, text=f"Permission denied: {why}")
        return await handler(request)

    @property
    def address(self) -> str:
        """As in a URL: an IPv6 address stands in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reached_at(self) -> str:
        """The address for who is on this machine."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- where it listens is the operator's choice
        host = everywhere.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises ColdchainError naming the address when that cannot be."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            raise ColdchainError(
                f"The registry cannot listen on {self.address}: {error}", todo="Choose another address with --registry."
            ) from error
        self.port = self._runner.addresses[0][1]
        log.info("registry listens", address=self.address)
        if self.exposed:
            log.warning("the registry speaks plain HTTP: tokens can be read on the way", address=self.address)

    async def stop(self) -> None:
        """Answer what was asked, and listen no more."""
        await self._runner.cleanup()

    async def _end_waits(self, application: web.Application) -> None:
        self._content.indices.close()
        await asyncio.sleep(0)
