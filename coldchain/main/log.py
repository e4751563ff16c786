"""log: where the process writes what it does: standard error, which may be a file on a full disk or a pipe that nobody
reads any more. That must not end a platform."""

import io
import os
import sys
from typing import TextIO, cast

import structlog

STANDARD_ERROR = 2


class LossyStream(io.TextIOBase):
    """Text that goes to a file descriptor, line by line. What cannot be written is lost; it says so in a line of its
    own as soon as there is room again."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = ""
        self._lost = 0
        self._why = ""
        self._torn = ""  # the end of a line of which only the beginning could be written

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._write_line(line)
        return len(text)

    def _write_line(self, line: str) -> None:
        notice = f"coldchain: {self._lost} lines of this log are lost: {self._why}\n" if self._lost else ""
        content = f"{self._torn}{notice}{line}\n".encode(errors="replace")
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
                self._torn = "\n" if content else ""
        except OSError as error:
            self._lost, self._why = self._lost + 1, error.strerror or type(error).__name__
        else:
            self._lost = 0


def open_log() -> None:
    """From now on all that goes to standard error goes there so. The log: JSON lines, or for a terminal what is easier
    on the eye."""
    stream = LossyStream(STANDARD_ERROR)
    sys.stderr = stream
    renderer = structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, stream)),
        cache_logger_on_first_use=True,
    )
