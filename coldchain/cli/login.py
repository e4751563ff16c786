"""login: keeps a token for an address. It never stands in a command line, which every user of the machine can read."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import Invalid, Refused, reason_of
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import run, say, write_json
from coldchain.cli.way import address_of, keep, logins_file


def login(
    file: Annotated[
        Path | None, typer.Option("--token-file", help="File with the token; standard input if not given.")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the token of this address.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Keep a token for an address: commands that are sent there show it from now on.

    With --ca its certificates are remembered, too.
    """
    authority = os.environ.get("COLDCHAIN_CA")
    whole = os.path.abspath(authority) if authority else None
    run(_login(address_of(url), file, whole, forget=forget, as_json=as_json))


async def _login(url: str, file: Path | None, authority: str | None, *, forget: bool, as_json: bool) -> None:
    if "@" in url:
        raise Invalid(_("an address with a password in it needs no login"))
    if forget:
        keep(url, None)
        found = {"forgotten": url}
    else:
        token = _token(file)
        async with Client(url, token=token) as client:
            try:
                found = await client.get("/v1/caller")
            except Refused as error:
                if error.status != 401:
                    raise
                raise Invalid(
                    _("{url} does not know this token", url=url),
                    todo=_("It may be revoked or too old: ask an admin for another one (`coldchain token`)."),
                ) from error
        keep(url, {"token": token} | ({"authority": authority} if authority else {}))
    if url.startswith("http://") and not forget and not _is_of_this_machine(url):
        say(_("warning: to {url} the token goes as it is, for everybody on the way to read", url=url))
    if as_json:
        write_json(found)
    elif forget:
        say(_("the token for {url} is forgotten", url=url))
    else:
        words = _("you are {name}, {role} of {group} at {url}; {file} has the token")
        say(words.format(**found, url=url, file=logins_file()))


def _is_of_this_machine(url: str) -> bool:
    from urllib.parse import urlsplit

    from coldchain.decisions.address import is_loopback

    return is_loopback(urlsplit(url).hostname or "")


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            given = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(_("{file} cannot be read", file=file), why=reason_of(error)) from error
    elif sys.stdin.isatty():
        given = str(typer.prompt(_("Token"), hide_input=True, err=True))
    else:
        given = sys.stdin.read()
    token = given.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Invalid(_("this is no token"), todo=_("It begins with cct_; `coldchain token create` shows it once."))
    return token
