"""store_options: the options by which commands name a store that several controllers share."""

from pathlib import Path
from typing import Annotated, Generic, TypedDict, TypeVar

import typer

from coldchain.main.credentials import read_credentials
from coldchain.main.stores import EtcdAccess

ETCD_CREDENTIALS = "COLDCHAIN_ETCD_CREDENTIALS"

Store = Annotated[
    str | None,
    typer.Option(help="etcd://HOST:PORT[,HOST:PORT…], perhaps with /NAME, to keep the state in instead of the folder."),
]
EtcdAuthority = Annotated[
    Path | None, typer.Option(help="PEM file of who vouches for the members of etcd: they are talked to over TLS.")
]
EtcdCertificate = Annotated[Path | None, typer.Option(help="PEM file of the certificate that is shown to them.")]
EtcdKey = Annotated[Path | None, typer.Option(help="PEM file of its private key, if that is not in the same file.")]
EtcdCredentials = Annotated[
    Path | None,
    typer.Option(help="File with NAME:PASSWORD of a user of etcd; or the variable COLDCHAIN_ETCD_CREDENTIALS has it."),
]


Where = TypeVar("Where", bound=str | None)


class Stored(TypedDict, Generic[Where]):
    """Which store it is, and how etcd is talked to, as PlatformSettings takes it."""

    store: Where
    etcd: EtcdAccess


def stored(
    store: Where, authority: Path | None, certificate: Path | None, key: Path | None, credentials: Path | None
) -> Stored[Where]:
    return Stored(store=store, etcd=etcd_access(authority, certificate, key, credentials))


def etcd_access(
    authority: Path | None, certificate: Path | None, key: Path | None, credentials: Path | None
) -> EtcdAccess:
    given = read_credentials(credentials, ETCD_CREDENTIALS, "--etcd-credentials-file")
    return EtcdAccess(authority=authority, certificate=certificate, key=key, credentials=given)
