"""installation: what of nginx is installed here, and the files that a prefix needs. Blocking; call in a thread."""

import datetime
import errno
import glob
import hashlib
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coldchain.gateway.settings import FirewallFiles, GatewaySettings
from coldchain.model.errors import Rejected

LUA = Path(__file__).with_name("lua")
INSTALL = "Install it: apt-get install nginx-light libnginx-mod-http-lua lua-cjson lua-resty-core lua-luaossl"
_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
_MODULE_DIRECTORIES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))


FIREWALL_PACKAGES = {
    "libmodsecurity3": "/usr/lib/*/libmodsecurity.so.3",
    "modsecurity-crs": "/usr/share/modsecurity-crs/rules/REQUEST-901-INITIALIZATION.conf",
}
"""By Debian's package: what of it the firewall of routes needs."""


@dataclass(frozen=True)
class Installation:
    """Where nginx and its modules lie; `firewall` None where what it needs is not installed."""

    nginx: Path
    modules: Path
    firewall: FirewallFiles | None = None


def find_installation(
    search: str | None = None, module_directories: tuple[Path, ...] = _MODULE_DIRECTORIES
) -> Installation:
    """`search`: a PATH to look along; sbin directories are looked through by default. Raises `Rejected`."""
    nginx = shutil.which("nginx", path=search or f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise Rejected("nginx is not installed on this machine", todo=INSTALL)
    for directory in module_directories:
        if all((directory / module).is_file() for module in _MODULES):
            return Installation(Path(nginx), directory, find_firewall())
    raise Rejected("nginx is installed without its Lua module", todo=INSTALL)


def find_firewall(packages: Mapping[str, str] = FIREWALL_PACKAGES) -> FirewallFiles | None:
    """Only routes that ask for a firewall need it, so nobody is refused for its want here."""
    library, rules = (next(iter(sorted(glob.glob(pattern))), None) for pattern in packages.values())
    return FirewallFiles(Path(library), Path(rules).parent) if library and rules else None


def lua_digest() -> str:
    """Of all our Lua code: a new release of Coldchain reloads a running nginx once."""
    code = hashlib.sha256()
    for file in sorted(LUA.rglob("*.lua")):
        code.update(file.read_bytes())
    return code.hexdigest()[:16]


def prepare(settings: GatewaySettings) -> None:
    """Make the directories of the prefix. Raises `Rejected` when they cannot be made or be used by the workers."""
    with explained(settings.prefix):
        for directory in (settings.prefix, settings.prefix / "logs", settings.prefix / "temporary"):
            directory.mkdir(parents=True, exist_ok=True)
        # nginx makes its sockets open to everybody: the directory is what keeps them to us.
        settings.control_socket.parent.mkdir(mode=0o700, exist_ok=True)
        settings.control_socket.parent.chmod(0o700)
        for directory in (settings.prefix, settings.prefix / "temporary"):
            directory.chmod(0o755)
    if settings.worker_user:
        _check_way(settings.prefix, settings.worker_user[0])


def write_placeholder(settings: GatewaySettings) -> None:
    """Where nginx is to speak TLS: a certificate of nobody, made once."""
    if not settings.tls_listen or settings.placeholder_file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "no certificate")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2000, 1, 2, tzinfo=datetime.UTC))
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    new = settings.placeholder_file.with_suffix(".new")
    with explained(settings.prefix):
        new.touch(mode=0o600)
        new.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
        new.replace(settings.placeholder_file)


def write_configuration(settings: GatewaySettings, text: str) -> None:
    """All or nothing."""
    new = settings.configuration_file.with_suffix(".new")
    write_placeholder(settings)
    with explained(settings.prefix):
        new.write_text(text)
        new.replace(settings.configuration_file)


@contextmanager
def explained(prefix: Path) -> Iterator[None]:
    """Turns what the file system says into an error with advice."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Rejected(f"no space is left for the gateway below {prefix}", todo="Make room on that disk") from error
        raise Rejected(
            f"the gateway cannot write below {prefix}: {error.strerror}", todo="Give it a directory it may write to"
        ) from error


def _check_way(prefix: Path, user: str) -> None:
    try:
        owner = pwd.getpwnam(user).pw_uid
    except KeyError:
        raise Rejected(f"there is no user {user!r} for nginx's workers", todo="Name another worker_user") from None
    for directory in prefix.parents:
        status = directory.stat()
        if not status.st_mode & 0o001 and not (status.st_uid == owner and status.st_mode & 0o100):
            raise Rejected(
                f"nginx's workers ({user}) cannot pass through {directory}, so they could not keep large bodies",
                todo="Give the gateway a prefix that every user can reach",
            )
