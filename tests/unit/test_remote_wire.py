"""runners/remote/wire: errors on their way, and who may ask."""

import msgspec
import pytest

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
from coldchain.runners.remote.wire import Failure, error_of, failure_of, is_allowed, read_failure

ERRORS = [
    Conflict("it is there", todo="Wait"),
    Forbidden("no"),
    InvalidDocument([Problem(path="/id", reason="missing"), Problem(path="/cmd", reason="odd", suggestion="args")]),
    MalformedDocument("no document"),
    NotFound("task x does not run", todo="See status"),
    Rejected("no such image", retry_seconds=5.0),
    Unauthenticated("who are you"),
    Unavailable("silent", todo="Start it"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_at_the_other_end(error: ColdchainError) -> None:
    other = read_failure(msgspec.json.encode(failure_of(error)))
    assert type(other) is type(error)
    for name in ("message", "todo", "status", "retry_seconds", "args"):
        assert getattr(other, name) == getattr(error, name)
    assert getattr(other, "problems", None) == getattr(error, "problems", None)


def test_what_is_not_known_here_is_worth_trying_again() -> None:
    for error in (error_of(Failure(kind="Newer", message="words")), read_failure(b"<html>")):
        assert isinstance(error, Unavailable)


@pytest.mark.parametrize(
    ("header", "token", "allowed"),
    [
        ("Bearer secret", "secret", True),
        ("Bearer secre", "secret", False),
        ("Bearer secret ", "secret", False),
        ("secret", "secret", False),
        ("", "secret", False),
        ("Bearer ", "", False),
        ("", "", False),
        ("Bearer gehört", "secret", False),
    ],
)
def test_who_may_ask(header: str, token: str, allowed: bool) -> None:
    assert is_allowed(header, token) is allowed
