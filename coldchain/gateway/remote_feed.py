"""remote_feed: the way of a gateway to a controller in another process: its reports go out, rotations come back, over
the API."""

from collections.abc import Mapping
from ssl import SSLContext
from urllib.parse import quote

import aiohttp
import msgspec

from coldchain.documents.exchange import Given
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.rotation import GatewayReport, RotationUpdate

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
"""Beyond what it was asked to wait. An answer that comes much later leaves nothing of the lease that it grants."""
SAID_CHARACTERS_MAX = 500


class RemoteFeed:
    """Implements ports.rotation_feed.RotationFeed by the API at `url`. `headers`: who asks. `trust`: who must have
    vouched for its certificate; None: whom this machine trusts."""

    def __init__(
        self,
        connections: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str] | None = None,
        trust: SSLContext | None = None,
    ) -> None:
        self._connections = connections
        self._url = url
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._trust = trust
        self._lease_seconds = 0.0
        self._shares: Mapping[str, float] = {}

    @property
    def lease_seconds(self) -> float:
        """As the last answer said; nothing before the first."""
        return self._lease_seconds

    def shares(self, gateway: str) -> Mapping[str, float]:
        """As the last answer said."""
        return self._shares

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        """Also raises Rejected, for what the controller would say again."""
        timeout = aiohttp.ClientTimeout(total=wait_seconds + ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with self._connections.post(
                f"{self._url}/v1/gateways/{quote(report.gateway, safe='')}/exchange",
                params={"wait": f"{wait_seconds:.3f}"},
                data=msgspec.json.encode(report),
                headers=self._headers,
                timeout=timeout,
                allow_redirects=False,
                ssl=self._trust if self._trust is not None else True,
            ) as answer:
                said = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            words = f"the controller at {self._url} does not answer: {str(error) or type(error).__name__}"
            raise Unavailable(words, todo="The gateway goes on with what it has") from error
        if answer.status != 200:
            raise _refused(self._url, answer.status, said)
        try:
            given = msgspec.json.decode(said, type=Given)
        except msgspec.MsgspecError as error:
            raise Rejected(
                f"the controller at {self._url} answers something else: {error}",
                todo="Have all controllers be of one version",
            ) from error
        self._lease_seconds, self._shares = given.lease_seconds, given.shares
        return given.update


def _refused(url: str, status: int, said: bytes) -> ColdchainError:
    words = f"the controller at {url} gives the gateway nothing: {status} {_message(said)}"
    if status in (401, 403):
        return Rejected(words, todo="Give it a token of role operator for the whole platform")
    return Unavailable(words) if status >= 500 else Rejected(words)


def _message(said: bytes) -> str:
    try:
        return str(msgspec.json.decode(said, type=dict[str, object])["message"])[:SAID_CHARACTERS_MAX]
    except (msgspec.MsgspecError, KeyError):
        return said[:SAID_CHARACTERS_MAX].decode("utf-8", "replace")
