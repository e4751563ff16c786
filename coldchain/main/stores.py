"""stores: a store by its address: the file of one machine, or etcd for several."""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.clients.etcd import EtcdClient
from coldchain.model.errors import InvalidDocument, Problem, Rejected
from coldchain.ports.store import Store
from coldchain.store.etcd import EtcdStore
from coldchain.store.sqlite import SQLiteStore

SCHEME = "etcd://"
ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")
PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DEFAULT_PREFIX = "coldchain"


@dataclass(frozen=True, kw_only=True)
class EtcdAccess:
    """How the members of an etcd are talked to."""

    authority: Path | None = None
    """Certificates of those who vouch for the members: then they are talked to over TLS."""

    certificate: Path | None = None
    """Certificate that is shown to the members, with those that vouch for it."""

    key: Path | None = None
    """The private key of the certificate. None: it is in the same file."""

    credentials: str | None = field(default=None, repr=False)
    """NAME:PASSWORD of a user of etcd."""

    def context(self) -> ssl.SSLContext | None:
        """None: without TLS. Raises InvalidDocument."""
        if self.authority is None:
            if self.certificate is not None or self.key is not None:
                raise _invalid("--etcd-certificate", "is shown over TLS only: give --etcd-authority as well")
            return None
        if self.key is not None and self.certificate is None:
            raise _invalid("--etcd-key", "is the key of a certificate: give --etcd-certificate as well")
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
        except (OSError, ssl.SSLError) as error:
            raise _invalid("--etcd-authority", f"{self.authority} cannot be read: {error}") from error
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise _invalid("--etcd-certificate", f"{self.certificate} cannot be read: {error}") from error
        return context


def is_etcd(address: str) -> bool:
    return address.startswith(SCHEME)


def check_address(address: str, option: str) -> None:
    """Raises InvalidDocument for what is no address of an etcd."""
    _parsed(address, option)


def open_etcd(address: str, access: EtcdAccess, option: str = "--store") -> EtcdStore:
    """Connects with the first question. Raises InvalidDocument."""
    endpoints, prefix = _parsed(address, option)
    context = access.context()
    scheme = "https" if context else "http"
    user, separator, password = (access.credentials or "").partition(":")
    if access.credentials and not (user and separator):
        raise _invalid("--etcd-credentials-file", "has no NAME:PASSWORD")
    client = EtcdClient([f"{scheme}://{one}" for one in endpoints], user=user, password=password, tls=context)
    return EtcdStore(client, prefix)


def open_each_member(address: str, access: EtcdAccess, option: str = "--store") -> Sequence[tuple[str, EtcdStore]]:
    """One store for each endpoint, by HOST:PORT, to see which of them answer. Raises InvalidDocument."""
    endpoints, prefix = _parsed(address, option)
    return [(one, open_etcd(f"{SCHEME}{one}/{prefix}", access, option)) for one in endpoints]


def endpoints_of(address: str, option: str = "--store") -> Sequence[str]:
    """HOST:PORT of each member. Raises InvalidDocument."""
    return _parsed(address, option)[0]


def open_any(address: str, access: EtcdAccess, option: str) -> Store:
    """By `etcd://…` or the path of a file. Raises InvalidDocument, Rejected. Blocks."""
    return open_etcd(address, access, option) if is_etcd(address) else SQLiteStore(address)


def open_source(address: str, access: EtcdAccess, option: str) -> Store:
    """As `open_any`; a file that is not there is not made."""
    if not is_etcd(address) and not Path(address).is_file():
        raise Rejected(f"there is no store {address}", todo="Name the file store.sqlite of a data folder.")
    return open_any(address, access, option)


def _parsed(address: str, option: str) -> tuple[Sequence[str], str]:
    """The endpoints, and the name below which the keys are."""
    if not is_etcd(address):
        raise _invalid(option, f"{address!r} is not etcd://HOST:PORT[,HOST:PORT…][/NAME]")
    hosts, _, prefix = address.removeprefix(SCHEME).partition("/")
    endpoints = hosts.split(",")
    for endpoint in endpoints:
        found = ENDPOINT.fullmatch(endpoint)
        if found is None or not 0 < int(found[2]) < 65536:
            # Who writes a password there must not find it in a log.
            shown = endpoint.rpartition("@")[2]
            reason = "credentials belong into --etcd-credentials-file" if "@" in endpoint else "is not HOST:PORT"
            raise _invalid(option, f"{shown!r}: {reason}")
    if len(set(endpoints)) != len(endpoints):
        raise _invalid(option, "names an endpoint twice")
    if prefix and not PREFIX.fullmatch(prefix):
        raise _invalid(option, f"{prefix!r} is not a name of letters, digits, `_`, `.` and `-`")
    return endpoints, prefix or DEFAULT_PREFIX


def _invalid(option: str, reason: str) -> InvalidDocument:
    return InvalidDocument([Problem(path=option, reason=reason)])
