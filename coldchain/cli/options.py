"""options: arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_URL = ""
"""None given: `way` finds the platform of this machine."""
LOOK_SECONDS = 2.0


def complete_app(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the apps there are, for the shell."""
    found = names_of(context, "/v2/apps", "apps", "id")
    return [app_id for app_id in found if app_id.lstrip("/").startswith(incomplete.lstrip("/"))]


def names_of(context: typer.Context, path: str, things: str, name: str) -> list[str]:
    """What the things of an answer are called, for the shell; nothing when no platform answers."""
    import asyncio

    from coldchain.cli.client import Client
    from coldchain.cli.errors import CommandError

    async def ask() -> list[str]:
        async with asyncio.timeout(LOOK_SECONDS), Client(str(context.params.get("url") or DEFAULT_URL)) as client:
            return [str(one[name]) for one in (await client.get(path))[things]]

    try:
        return asyncio.run(ask())
    except (CommandError, TimeoutError, LookupError, TypeError):
        return []


Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="COLDCHAIN_URL",
        help="Address of the API, or several with commas; if not given, this machine's.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
AppId = Annotated[str, typer.Argument(metavar="APP", help="Id of the app.", autocompletion=complete_app)]
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Definitions in JSON or YAML; - is standard input.")
]
Force = Annotated[bool, typer.Option("--force", help="Take the place of a deployment that is still running.")]
Wait = Annotated[bool, typer.Option("--wait/--detach", help="Follow the deployment to its end, or return at once.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="RULE", help="Let through what this rule of admission refuses; repeatable."),
]
Because = Annotated[
    str, typer.Option("--because", metavar="TEXT", help="Why rules are overridden; goes on record with who and when.")
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=0.1, help="Seconds to follow; the deployment itself goes on. [default: none]"),
]


def override_query(overrides: list[str] | None, because: str) -> list[tuple[str, str]]:
    """What the API is told of overrides."""
    told = [("override", rule) for rule in overrides or ()]
    return [*told, ("because", because)] if because else told
