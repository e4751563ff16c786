"""errors: what can go wrong for a command, and the exit status that scripts read."""

from typing import Any

from coldchain.cli.language import _

SUCCEEDED, FAILED, INVALID, UNREACHABLE, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 130


class CommandError(Exception):
    """Said on standard error as what, why and what to do; ends the command with `exit_status`."""

    exit_status = FAILED

    def __init__(self, what: str, *, why: str = "", todo: str = "", lines: list[str] | None = None) -> None:
        super().__init__(what)
        self.what, self.why, self.todo = what, why, todo
        self.lines = lines or []

    def __str__(self) -> str:
        text = _("error: {what}", what=self.what) + (f": {self.why}" if self.why else "")
        return "\n".join([text, *(f"  {line}" for line in self.lines), *([self.todo] if self.todo else [])])


class Invalid(CommandError):  # noqa: N818 -- the field's word
    """The input or the way of asking is wrong."""

    exit_status = INVALID


class Unreachable(CommandError):  # noqa: N818
    """No platform answers."""

    exit_status = UNREACHABLE


class TimedOut(CommandError):  # noqa: N818
    """It was not done in the time that the user gave."""

    exit_status = TIMED_OUT


class Refused(CommandError):  # noqa: N818
    """The API said no. `status` of the answer, and its `body`."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        details = [one for one in body.get("details", ()) if isinstance(one, dict)]
        lines = [f"{one['path']}: {reason}" for one in details for reason in one["errors"]]
        deployments = [one["id"] for one in body.get("deployments", ())]
        why = str(body["details"]) if isinstance(body.get("details"), str) else ""
        if deployments:
            super().__init__(
                _("deployment {ids} of this app is still running", ids=", ".join(deployments)),
                todo=_(
                    "Wait for it, take it back with `coldchain cancel {id}`, or replace it with --force.",
                    id=deployments[0],
                ),
            )
        else:
            super().__init__(
                str(body.get("message") or _("the API answered with status {status}", status=status)),
                why=why,
                lines=lines,
            )
        self.status = status
        self.body = body
        self.exit_status = INVALID if status in (400, 413, 422) else FAILED


def reason_of(error: BaseException) -> str:
    """Why a connection or a file failed, in the machine's own words."""
    import os

    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)
    if number and number > 0:
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(error) or type(error).__name__
