"""key_source: the adapter of `ports.key_source.KeySource` over HTTP and HTTPS.

What stands in a definition is not the word of who runs the platform: it must not make the controller ask servers that
only the controller reaches. So only public addresses are asked, whatever names lead to them, redirections are not
followed, and no proxy of the environment is used."""

import ipaddress
import socket
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from coldchain._version import __version__
from coldchain.model.errors import Unavailable

BYTES_MAX = 256 * 1024
TIMEOUT_SECONDS = 10.0
TODO = "See that it is reached from the controller's machine: GET /v1/key-sets says what became of it."

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class HttpKeySource:
    """`allowed`: networks that are not public and may be asked all the same. To be used on one event loop."""

    def __init__(self, allowed: Sequence[str] = (), timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._allowed = [ipaddress.ip_network(one) for one in allowed]
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str) -> bytes:
        try:
            # aiohttp asks no resolver about what is an address already.
            _check_literal(URL(url).host or "", self._allowed)
            async with self._opened().get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise Unavailable(f"{url} answers {answer.status}", todo=TODO)
                body = await answer.content.read(BYTES_MAX + 1)
                while len(body) <= BYTES_MAX and (more := await answer.content.read(BYTES_MAX + 1)):
                    body += more
        except TimeoutError as error:
            raise Unavailable(f"{url} does not answer in time", todo=TODO) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(f"{url} cannot be fetched: {error}"[:500], todo=TODO) from error
        if len(body) > BYTES_MAX:
            raise Unavailable(f"{url} answers more than {BYTES_MAX} bytes", todo=TODO)
        return body

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_PublicResolver(self._allowed), use_dns_cache=False, force_close=True
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"coldchain/{__version__}", "Accept": "application/json"},
            )
        return self._session


class _PublicResolver(AbstractResolver):
    """Names as the machine resolves them, without the addresses that may not be asked: the connection goes to what was
    looked at, and to nothing else."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        may = [one for one in found if may_be_asked(ipaddress.ip_address(one["host"]), self._allowed)]
        if not may:
            raise OSError(_refused(host))
        return may

    async def close(self) -> None:
        await self._resolver.close()


def may_be_asked(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether it is a public one, also where IPv6 only wraps an address of IPv4; or one of the allowed."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        wrapped = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            wrapped = ipaddress.IPv4Address(address.packed[12:])
        if wrapped is not None:
            return may_be_asked(wrapped, allowed)
    if any(address.version == one.version and address in one for one in allowed):
        return True
    return address.is_global and not address.is_multicast and not address.is_reserved


def _check_literal(host: str, allowed: Sequence[Network]) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if not may_be_asked(address, allowed):
        raise OSError(_refused(host))


def _refused(host: str) -> str:
    return f"{host} has no public address; `coldchain up --key-set-network` allows others"
