"""The file of an app that came from Marathon: notes as comments, then the definition.

It begins with a sum of what follows, by which the next run knows whether somebody has changed it since. Nothing in it
depends on when it was written, so that the same app gives the same file.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from textwrap import wrap
from urllib.parse import quote

from coldchain.documents.application import decode_app, decode_yaml
from coldchain.documents.migration import Migrated
from coldchain.documents.migration_note import Note
from coldchain.documents.rules import ID_CHARACTERS_MAX, ID_SEGMENT
from coldchain.documents.yaml_writer import write_yaml
from coldchain.model.errors import ColdchainError

DEFINITION, REJECTED = ".yaml", ".yaml.rejected"
NAME_CHARACTERS_MAX = 200
COMMENT_CHARACTERS = 116
TITLES = {
    "rejected": "Why it is not yet a definition; mend it, and rename the file to end with .yaml:",
    "left out": "What does not carry over:",
    "changed": "What is said in another way:",
    "advice": "What to do, or to know:",
}
_FIRST = re.compile(r"# coldchain migrate ([0-9a-f]{64}): [^\n]*\n")


def file_name(migrated: Migrated) -> str:
    """Another one for each app, whatever its id: with `_` for the slashes, as Marathon names tasks."""
    name = migrated.app_id.strip("/")
    if len(name) <= ID_CHARACTERS_MAX and all(ID_SEGMENT.fullmatch(part) for part in name.split("/")):
        name = name.replace("/", "_")
    else:
        # No app has such an id: nothing that means something to a file system may stand in the name.
        digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        plain = quote(name, safe="", errors="backslashreplace").replace("_", "%5F").replace(".", "%2E")
        name = f"{plain[: NAME_CHARACTERS_MAX - 17]}_{digest}"
    return name + (REJECTED if migrated.problems else DEFINITION)


def checked(migrated: Migrated, source: str) -> tuple[Migrated, str]:
    """The app with the text of its file. One whose definition would not be read back as it is meant is rejected."""
    if migrated.problems:
        return migrated, file_text(migrated, source)
    try:
        text = file_text(migrated, source)
        text.encode()
        if decode_yaml(text) == decode_app(migrated.document):
            return migrated, text
        reason = "cannot be written as YAML without becoming something else"
    except (ColdchainError, ValueError) as error:
        reason = f"cannot be written as YAML: {error}"
    problem = Note(path="", kind="rejected", reason=reason, todo="Write the definition by hand.")
    rejected = Migrated(app_id=migrated.app_id, document=None, notes=migrated.notes, problems=(problem,))
    return rejected, file_text(rejected, source)


def file_text(migrated: Migrated, source: str) -> str:
    """`source`: the address of the Marathon it came from, without credentials. Raises ValueError."""
    comments = list(_comments((*migrated.problems, *migrated.notes)))
    body = "\n".join(comments) + "\n\n" if comments else ""
    body += write_yaml(migrated.document)
    begins = f"the app {one_line(migrated.app_id)} of {one_line(source)}; written anew while nobody changes it"
    return f"# coldchain migrate {_sum(body)}: {begins}\n{body}"


def untouched(text: str) -> bool:
    """True for a file as it was written here."""
    first = _FIRST.match(text)
    return first is not None and first[1] == _sum(text[first.end() :])


def one_line(text: str) -> str:
    """Text of others, which must not end a comment or a line on a screen."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def _comments(notes: Iterable[Note]) -> Iterator[str]:
    listed = list(notes)
    for kind, title in TITLES.items():
        chosen = [note for note in listed if note.kind == kind]
        if not chosen:
            continue
        yield f"# {title}"
        for note in chosen:
            yield from _wrapped(f"{note.path or '/'}: {note.reason}.", "# - ", "#   ")
            yield from _wrapped(note.todo, "#   ", "#   ")


def _wrapped(text: str, first: str, other: str) -> list[str]:
    return wrap(
        one_line(text),
        COMMENT_CHARACTERS,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sum(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "backslashreplace")).hexdigest()
