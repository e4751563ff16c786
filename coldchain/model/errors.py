"""Errors on two axes: whose fault (it carries the HTTP status) and whether to try again (it carries the delay)."""

from collections.abc import Sequence

from coldchain.model.base import Noun


class Problem(Noun, frozen=True, kw_only=True):
    """One thing wrong with a document: where (a JSON path such as `/instances`), why, and what was perhaps meant."""

    path: str
    reason: str
    suggestion: str | None = None

    def __str__(self) -> str:
        text = f"{self.path or '/'}: {self.reason}"
        return f"{text} (did you mean {self.suggestion!r}?)" if self.suggestion else text


class ColdchainError(Exception):
    """Something went wrong. `todo`: what the reader can do; `retry_seconds` None: trying again is vain."""

    status: int = 500
    retry_seconds: float | None = None

    def __init__(self, message: str, *, todo: str = "", retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.todo = todo
        if retry_seconds is not None:
            self.retry_seconds = retry_seconds

    def __str__(self) -> str:
        return f"{self.message.removesuffix('.')}. {self.todo}" if self.todo else self.message


class InvalidDocument(ColdchainError):  # noqa: N818 -- the field's word
    """The caller's fault: the document says something impossible. Carries every problem, not only the first."""

    status = 422

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class MalformedDocument(ColdchainError):  # noqa: N818
    """The caller's fault: not even a document."""

    status = 400


class NotFound(ColdchainError):  # noqa: N818
    """The caller's fault: no such thing."""

    status = 404


class Forbidden(ColdchainError):  # noqa: N818
    """The caller's fault: known or not, he may not do this."""

    status = 403


class Conflict(ColdchainError):  # noqa: N818
    """Nobody's fault: the thing exists already, was changed meanwhile, or is in a running deployment."""

    status = 409

    def __init__(self, message: str, *, todo: str = "", deployments: Sequence[str] = ()) -> None:
        super().__init__(message, todo=todo)
        self.deployments = tuple(deployments)


class Unavailable(ColdchainError):  # noqa: N818
    """A server we need does not answer: unknown, never empty. Worth trying again."""

    status = 503
    retry_seconds = 1.0


class Rejected(ColdchainError):  # noqa: N818
    """A server we need refused for a reason that trying again soon will not cure (no such image, port taken)."""

    status = 502
