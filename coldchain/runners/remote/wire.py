"""wire: what server and client say to each other. Bodies are nouns as JSON; what goes on for long is lines of JSON, an
empty one now and then to show that somebody is there; the output of a task is sent as it was written."""

import hmac
from collections.abc import Mapping

import msgspec

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.errors import (
    ColdchainError,
    Conflict,
    Forbidden,
    InvalidDocument,
    MalformedDocument,
    NotFound,
    Problem,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from coldchain.model.task import TaskStatus
from coldchain.ports.session import Stream

SIGN_SECONDS = 10.0
"""After such a silence the server sends an empty line; the client waits for three."""
SCHEME = "Bearer "
STREAM_BYTES: Mapping[Stream, bytes] = {"output": b"\x01", "error": b"\x02"}
STREAMS: Mapping[int, Stream] = {mark[0]: stream for stream, mark in STREAM_BYTES.items()}
MESSAGE_BYTES_MAX = 2**20
KINDS = {
    kind.__name__: kind
    for kind in (Conflict, Forbidden, MalformedDocument, NotFound, Rejected, Unauthenticated, Unavailable)
}


class Failure(Noun, frozen=True, kw_only=True):
    """An error on its way."""

    kind: str
    message: str
    todo: str = ""
    retry_seconds: float | None = None
    problems: tuple[Problem, ...] = ()


class Preparation(Noun, frozen=True, kw_only=True):
    """What `prepare` is asked for."""

    app: App
    image: str | None


class Prepared(Noun, frozen=True, kw_only=True):
    """A line of what `prepare` answers: how it goes on, or, as the last one, its image or its error."""

    progress: str | None = None
    ended: bool = False
    image: str | None = None
    failure: Failure | None = None


class Told(Noun, frozen=True, kw_only=True):
    """A line of updates: one of them, or why there are no more."""

    status: TaskStatus | None = None
    failure: Failure | None = None


class Kill(Noun, frozen=True, kw_only=True):
    grace_seconds: float


class Command(Noun, frozen=True, kw_only=True):
    command: str
    timeout_seconds: float


class Namespace(Noun, frozen=True, kw_only=True):
    """A path on the machine of the task."""

    path: str | None


class SessionWords(Noun, frozen=True, kw_only=True):
    """A text message of a session. To the program: the size of its terminal, or the end of its input. From it, as the
    first one: that it is `opened`; as the last one: its exit status, or why there is none."""

    opened: bool = False
    columns: int | None = None
    rows: int | None = None
    end_of_input: bool = False
    exit_status: int | None = None
    failure: Failure | None = None


def failure_of(error: ColdchainError) -> Failure:
    return Failure(
        kind=type(error).__name__,
        message=error.message,
        todo=error.todo,
        retry_seconds=error.retry_seconds,
        problems=error.problems if isinstance(error, InvalidDocument) else (),
    )


def error_of(failure: Failure) -> ColdchainError:
    """The same error at this end; of a kind that this end does not know: Unavailable."""
    if failure.kind == "InvalidDocument":
        return InvalidDocument(failure.problems)
    error = KINDS.get(failure.kind, Unavailable)(failure.message, todo=failure.todo)
    error.retry_seconds = failure.retry_seconds
    return error


def read_failure(body: bytes) -> ColdchainError:
    """The error in the body of an answer; Unavailable for one that is not ours."""
    try:
        return error_of(msgspec.json.decode(body, type=Failure))
    except msgspec.MsgspecError:
        return Unavailable(f"what answers is no executor of ours: {body[:100].decode(errors='replace')}")


def is_allowed(header: str, token: str) -> bool:
    """Whether a request shows the token. Takes as long for a wrong one as for the right one; an empty one opens
    nothing."""
    given = header.removeprefix(SCHEME) if header.startswith(SCHEME) else ""
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())
