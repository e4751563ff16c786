"""Runs the test application as a process of this machine, for tests that need no container."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from coldchain.model.errors import Rejected
from coldchain.testing.application.build import build_application


@dataclass(frozen=True)
class Application:
    """A running test application. It listens on 127.0.0.1:`port`; its output is read as far as the line saying so."""

    process: asyncio.subprocess.Process
    port: int


@contextlib.asynccontextmanager
async def running_application(**environment: str) -> AsyncIterator[Application]:
    """Starts it with this environment and nothing else, waits until it listens, and kills it at the end.

    Raises Rejected, with what it said, when it ends before it listens.
    """
    process = await asyncio.create_subprocess_exec(
        build_application(),
        env={"BIND": "127.0.0.1", "PORT": "0"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        port = re.match(r"listening on port (\d+)", line)
        if port is None:
            raise Rejected(f"The test application did not start: {line.strip()}")
        yield Application(process, int(port[1]))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
