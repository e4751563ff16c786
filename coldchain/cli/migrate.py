"""migrate: what another orchestrator runs becomes files with definitions, with all said that does not carry over."""

import asyncio
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from coldchain.cli.errors import FAILED, Invalid, reason_of
from coldchain.cli.language import _
from coldchain.cli.marathon import Found, Marathon
from coldchain.cli.options import Json
from coldchain.cli.output import run, say, write_json

if TYPE_CHECKING:
    from coldchain.documents.migration import Migrated
    from coldchain.documents.migration_note import Note

PASSWORD = "COLDCHAIN_MARATHON_PASSWORD"  # noqa: S105 -- the name of a variable
TIMEOUT_SECONDS = 60.0


class Source(StrEnum):
    """What can be read."""

    MARATHON = "marathon"


class State(StrEnum):
    """What became of a file. `kept`: somebody has changed it, and it was left alone."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    KEPT = "kept"


class Outcome(NamedTuple):
    """One app, its file, and what became of it."""

    migrated: "Migrated"
    file: Path
    state: State


Output = Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Folder to write the definitions into.")]
User = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help=f"Who asks; the password comes from {PASSWORD}, or is asked for."),
]
Overwrite = Annotated[bool, typer.Option("--force", help="Also write files anew that somebody has changed.")]
Patience = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for each answer.")]


def migrate(
    source: Annotated[Source, typer.Argument(metavar="SOURCE", help="What to read: marathon.")],
    address: Annotated[str, typer.Argument(metavar="URL", help="Address of its API.")],
    output: Output = Path("marathon"),
    user: User = None,
    force: Overwrite = False,
    timeout: Patience = TIMEOUT_SECONDS,
    as_json: Json = False,
) -> None:
    """Read what a Marathon runs, and write a definition for each app, with all said that does not carry over.

    An app that cannot be a definition yet is written to a file that ends with .rejected, with the reasons. Run again,
    it writes anew what changed in Marathon; files that somebody has changed are left alone. Marathon is only read.

    Exit status: 0 all written; 1 an app was rejected or a file left alone; 2 usage; 3 no Marathon answers; 4 timed out.
    """
    run(_migrate(address, user, output, timeout_seconds=timeout, force=force, as_json=as_json))


async def _migrate(
    address: str, user: str | None, folder: Path, *, timeout_seconds: float, force: bool, as_json: bool
) -> None:
    marathon = Marathon(address, timeout_seconds)
    if user is not None:
        marathon.credentials = (user, _password(user))
    found = await marathon.read()
    outcomes, gone = await asyncio.to_thread(_write_all, found, marathon.url, folder, force)
    if as_json:
        write_json(_document(marathon.url, found, outcomes, gone))
    else:
        _tell(found, outcomes, gone, folder)
    if any(one.migrated.problems or one.state is State.KEPT for one in outcomes):
        raise typer.Exit(FAILED)


def _password(user: str) -> str:
    given = os.environ.get(PASSWORD)
    if given is not None:
        return given
    return str(typer.prompt(_("Password of {user}", user=user), hide_input=True, err=True))


def _write_all(found: Found, url: str, folder: Path, force: bool) -> tuple[list[Outcome], list[Path]]:
    """What became of each app; and files of apps that are not there any more."""
    from coldchain.documents.migration import migrated_app
    from coldchain.documents.migration_file import DEFINITION, REJECTED, checked, file_name, untouched

    outcomes = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for document in found.apps:
            migrated, text = checked(migrated_app(document, found.dependencies), url)
            file = folder / file_name(migrated)
            stem = file.name.removesuffix(REJECTED).removesuffix(DEFINITION)
            other = folder / (stem + (DEFINITION if migrated.problems else REJECTED))
            outcomes.append(Outcome(migrated, file, _write(file, other, text, force)))
        mine = {name for one in outcomes for name in (one.file.name, one.file.name.removesuffix(".rejected"))}
        files = sorted(one for one in folder.iterdir() if one.name.endswith((DEFINITION, REJECTED)))
        gone = [file for file in files if file.name not in mine and untouched(_read(file) or "")]
    except OSError as error:
        file_or_folder = error.filename or folder
        raise Invalid(
            _("cannot write {file}", file=file_or_folder), why=reason_of(error), todo=_("Give another --output.")
        ) from error
    return outcomes, gone


def _write(file: Path, other: Path, text: str, force: bool) -> State:
    """`other`: the file the app had while it was rejected, or before it was."""
    from coldchain.documents.migration_file import untouched

    before, before_other = _read(file), _read(other)
    if not force and any(one is not None and not untouched(one) for one in (before, before_other)):
        return State.UNCHANGED if before == text else State.KEPT
    if before_other is not None:
        other.unlink()
    if before == text:
        return State.UNCHANGED
    beside = file.with_name(file.name + ".new")
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(file)
    return State.WRITTEN


def _read(file: Path) -> str | None:
    """What is in a file; None if there is none."""
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _tell(found: Found, outcomes: list[Outcome], gone: list[Path], folder: Path) -> None:
    from coldchain.documents.migration_file import one_line

    for one in outcomes:
        for line in _lines(one):
            typer.echo(one_line(line))
    if found.pods:
        say(_("warning: pods are not read, and Coldchain has none: {ids}", ids=one_line(", ".join(found.pods))))
    if found.changing:
        words = _("warning: deployments change these apps just now; run it again when they have ended: {ids}")
        say(words.format(ids=one_line(", ".join(found.changing))))
    for file in gone:
        say(_("warning: {file} is of an app that is not there any more; it is left as it is", file=file))
    counts = {state: sum(one.state is state and not one.migrated.problems for one in outcomes) for state in State}
    say(
        _(
            "{written} written, {unchanged} unchanged, {kept} left alone, {rejected} rejected",
            rejected=sum(bool(one.migrated.problems) for one in outcomes),
            **counts,
        )
    )
    if outcomes:
        say(_("Read them, then run `coldchain deploy {folder}/*.yaml`.", folder=folder))


def _lines(one: Outcome) -> Iterator[str]:
    told = {
        State.WRITTEN: _("{id}: {file} written"),
        State.UNCHANGED: _("{id}: {file} is as it was"),
        State.KEPT: _("{id}: {file} was changed by somebody and is left alone; --force writes it anew"),
    }
    yield told[one.state].format(id=one.migrated.app_id, file=one.file)
    for note in (*one.migrated.problems, *one.migrated.notes):
        yield f"  {_kind(note)}: {note.path or '/'}: {note.reason}"
        yield f"    {note.todo}"


def _kind(note: "Note") -> str:
    return {
        "rejected": _("rejected"),
        "left out": _("left out"),
        "changed": _("changed"),
        "advice": _("mind"),
    }[note.kind]


def _document(url: str, found: Found, outcomes: list[Outcome], gone: list[Path]) -> dict[str, Any]:
    def told(notes: "tuple[Note, ...]") -> list[dict[str, str]]:
        return [{"path": one.path, "kind": one.kind, "reason": one.reason, "todo": one.todo} for one in notes]

    return {
        "source": url,
        "apps": [
            {
                "id": one.migrated.app_id,
                "file": str(one.file),
                "state": one.state,
                "rejected": told(one.migrated.problems),
                "notes": told(one.migrated.notes),
            }
            for one in outcomes
        ],
        "pods": found.pods,
        "changing": found.changing,
        "gone": [str(file) for file in gone],
    }
