"""listeners: what of the platform listens beyond this machine, and who is asked there who he is."""

import asyncio
import hmac
import ssl
from collections.abc import Iterator

import structlog

from coldchain.control.callers import Callers
from coldchain.control.credentials import Credentials
from coldchain.decisions.address import is_loopback
from coldchain.main.settings import PlatformSettings
from coldchain.model.caller import LOCAL, Caller
from coldchain.model.errors import InvalidDocument, Problem, Rejected

log = structlog.get_logger(__name__)


class Known:
    """Whose token it is that somebody shows to the registry; the platform itself has one of its own for it, new with
    each start."""

    def __init__(self, own_token: str, callers: Callers) -> None:
        self._own_token = own_token
        self._callers = callers

    def caller(self, text: str) -> Caller | None:
        if self._own_token and hmac.compare_digest(text.encode("utf-8", "surrogatepass"), self._own_token.encode()):
            return LOCAL
        return self._callers.of_token(text)


def check_listeners(settings: PlatformSettings) -> None:
    """What cannot ask who somebody is listens on loopback, unless its operator says that it is open. Raises
    InvalidDocument."""
    if problems := list(_problems(settings)):
        raise InvalidDocument(problems)


def _problems(settings: PlatformSettings) -> Iterator[Problem]:
    without_dns = settings.registry_access().embedded is None
    for option, address, is_open, what in (
        ("--dns", settings.dns, settings.dns_open or without_dns, "tells everybody where services are"),
        (
            "--gateway-status",
            settings.gateway_status,
            settings.gateway_status_open,
            "tells everybody the gateway's readiness and numbers",
        ),
    ):
        host = address.rpartition(":")[0]
        if not is_open and not is_loopback(host):
            reason = f"{host} is not loopback, and this {what}; say {option}-open if it may"
            yield Problem(path=option, reason=reason)
    for option, given in (("--api-key", settings.api_key), ("--api-client-authority", settings.api_client_authority)):
        if given is not None and settings.api_certificate is None:
            yield Problem(path=option, reason="is for an API with a certificate: --api-certificate")
    if settings.api_client_role == "owner":
        yield Problem(path="--api-client-role", reason="a certificate has no group: choose another role")


def tls_context(settings: PlatformSettings) -> ssl.SSLContext | None:
    """None for plain HTTP. Raises InvalidDocument. Blocking."""
    if settings.api_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    option = "--api-certificate"
    try:
        context.load_cert_chain(settings.api_certificate, settings.api_key)
        if settings.api_client_authority is not None:
            option = "--api-client-authority"
            context.load_verify_locations(settings.api_client_authority)
            context.verify_mode = ssl.CERT_OPTIONAL  # who has none may have a token
    except (OSError, ValueError) as error:
        raise InvalidDocument([Problem(path=option, reason=f"cannot be used: {error}")]) from error
    return context


def leader_trust(settings: PlatformSettings) -> ssl.SSLContext | None:
    """Whom the certificates of the other controllers must be from: who vouches for this one's own. None: whom this
    machine trusts. Raises InvalidDocument. Blocking."""
    if settings.store is None or settings.api_certificate is None:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(settings.api_certificate)
    except (OSError, ssl.SSLError) as error:
        raise InvalidDocument([Problem(path="--api-certificate", reason=f"cannot be used: {error}")]) from error
    return context


async def admit_callers(settings: PlatformSettings, callers: Callers) -> None:
    """Before the API listens. Raises Rejected where others would reach it, and nobody is known who may."""
    if settings.http_credentials is not None:
        callers.credentials = await asyncio.to_thread(Credentials, settings.http_credentials)
    if is_loopback(settings.api_host):
        return
    if not callers.any_admin:
        raise Rejected(
            f"the API would listen on {settings.api_host}, which others reach, and no admin is known",
            todo="Run `coldchain up` on loopback and `coldchain token create NAME --role admin` first, or give "
            "--http-credentials-file.",
        )
    if settings.api_certificate is None:
        log.warning(
            "THE API SPEAKS PLAIN HTTP BEYOND THIS MACHINE: tokens and passwords can be read on the way; "
            "give --api-certificate and --api-key",
            address=settings.api_host,
        )
