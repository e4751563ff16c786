"""init: the first definition of an app, with comments, that deploys as it stands."""

import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from coldchain.cli.errors import Invalid
from coldchain.cli.language import _
from coldchain.cli.options import Json
from coldchain.cli.output import fail, say, write_json

FILE = "coldchain.yaml"
IMAGE = "nginx:alpine"
EXAMPLES = Path(__file__).with_name("examples")

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to write coldchain.yaml into.")]
GivenId = Annotated[str | None, typer.Option("--id", help="Id of the app; made of the folder's name if not given.")]


def init(
    folder: Folder = Path("."),
    app: GivenId = None,
    image: Annotated[str, typer.Option("--image", help="What to run.")] = IMAGE,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port on which the app listens.")] = 80,
    health: Annotated[str, typer.Option("--health", help="The path that tells whether it is healthy.")] = "/",
    as_json: Json = False,
) -> None:
    """Write a commented example of a definition that deploys as it stands. A file that is there is left alone."""
    app_id = "/" + (app.strip("/") if app else _id_of(folder.absolute().resolve().name))
    fields = {"id": app_id, "image": image, "port": port, "health": health, "domain": _domain(app_id)}
    text = Template(_example().read_text("utf-8")).substitute(fields)
    _check(text)
    file = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        fail(
            Invalid(
                _("{file} is there already and is left as it is", file=file), todo=_("Give another folder, or move it.")
            )
        )
    except OSError as error:
        fail(Invalid(_("cannot write {file}", file=file), why=error.strerror or str(error)))
    if as_json:
        write_json({"file": str(file), "id": app_id})
    else:
        say(_("{file} written: the app {id}. `coldchain deploy {file}` runs it.", file=file, id=app_id))


def _example() -> Path:
    """In the language of the user, if there is one in it."""
    return EXAMPLES / _("app.yaml")


def _id_of(name: str) -> str:
    """What of a folder's name can be an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "app"


def _domain(app_id: str) -> str:
    """One that means this machine in every browser."""
    return "-".join(reversed(app_id.strip("/").split("/"))) + ".localhost"


def _check(text: str) -> None:
    """What the options say must make a definition, or nothing is written."""
    from coldchain.documents.application import decode_yaml
    from coldchain.model.errors import InvalidDocument

    try:
        decode_yaml(text)
    except InvalidDocument as error:
        fail(Invalid(_("the options make no definition"), lines=[str(problem) for problem in error.problems]))
