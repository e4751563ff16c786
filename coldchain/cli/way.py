"""way: how the API is reached: by which address or socket, what is shown to it, and whom its certificate must be from.

Tokens that `login` keeps lie in one file that only the user can read, by address; COLDCHAIN_TOKEN goes before them.
"""

import base64
import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from coldchain.cli.errors import Invalid
from coldchain.cli.language import _

LOOPBACK_URL = "http://127.0.0.1:8080"
DATA = "/var/lib/coldchain"
SOCKET = "api.socket"


class Way(NamedTuple):
    """`shown`: as the user is told of it, without any password. `socket`: the one of this machine's platform."""

    url: str
    shown: str
    headers: dict[str, str]
    socket: str | None = None
    authority: str | None = None


def way_to(given: str) -> Way:
    """By the address given; without one by the socket of this machine's platform where this user may, else by loopback.
    Raises Invalid."""
    if not given and (path := _local_socket()) is not None:
        return Way("http://localhost", path, {}, socket=path)
    url, password = _split(address_of(given))
    login = logins().get(url, {})
    token = os.environ.get("COLDCHAIN_TOKEN") or login.get("token")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Way(url, url, headers | password, authority=os.environ.get("COLDCHAIN_CA") or login.get("authority"))


def address_of(given: str) -> str:
    """Whole, as addresses are compared."""
    url = given or LOOPBACK_URL
    return (url if "://" in url else f"http://{url}").rstrip("/")


def _split(url: str) -> tuple[str, dict[str, str]]:
    """The address without the name and the password in it, which are sent as such."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, {}  # what is no address is told by who tries it
    user, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    name, _colon, password = user.partition(":")
    pair = f"{unquote(name)}:{unquote(password)}".encode()
    basic = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return urlunsplit(parts._replace(netloc=place)), basic


def _local_socket() -> str | None:
    """Its path, if a platform answers there and lets this user in."""
    path = os.path.join(os.environ.get("COLDCHAIN_DATA", DATA), SOCKET)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
    except OSError:
        return None
    return path


def logins_file() -> Path:
    """Where logins are kept."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "coldchain" / "logins.json"


def logins() -> dict[str, dict[str, Any]]:
    """By address: `token` and `authority`. None where the file is not there. Raises Invalid."""
    try:
        found = json.loads(logins_file().read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise Invalid(
            _("{file} cannot be read", file=logins_file()), why=str(error), todo=_("Take it away and log in again.")
        ) from error
    return found if isinstance(found, dict) else {}


def keep(url: str, login: dict[str, Any] | None) -> None:
    """Remember, or with None forget, how to come in there. The file is never readable by others, nor half written."""
    known = {name: one for name, one in logins().items() if name != url} | ({url: login} if login else {})
    file = logins_file()
    written = file.with_name(file.name + ".new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written.unlink(missing_ok=True)
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            json.dump(known, opened, indent=1)
        written.replace(file)
    except OSError as error:
        raise Invalid(_("{file} cannot be written", file=file), why=error.strerror or str(error)) from error
