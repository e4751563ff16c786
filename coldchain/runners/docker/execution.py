"""A command inside a running container."""

import asyncio
import uuid
from contextlib import closing

from coldchain.clients.docker import DockerClient, DockerRefused, DockerUnavailable
from coldchain.model.errors import NotFound, Rejected
from coldchain.model.task import Execution
from coldchain.runners.marked import kill_all, marked

OUTPUT_BYTES_MAX = 4096


async def execute(client: DockerClient, container: str, command: str, timeout_seconds: float) -> Execution:
    """See port Engine. The Engine API cannot end an exec, so its processes are found by a variable that only they
    have, and killed from this side of the container: that needs the machine's own view of its processes."""
    mark = f"COLDCHAIN_EXECUTION={uuid.uuid4().hex}"
    document = {
        "AttachStdout": True,
        "AttachStderr": True,
        "Cmd": ["/bin/sh", "-c", command],
        "Env": [mark],
    }
    output = b""
    try:
        async with asyncio.timeout(timeout_seconds):
            execution = await client.create_execution(container, document)
            stream = await client.open_execution(execution, terminal=False)
            with closing(stream):
                async for _, piece in stream.output():
                    output = (output + piece)[-OUTPUT_BYTES_MAX:]
            exit_status = int((await client.inspect_execution(execution))["ExitCode"])
    except TimeoutError:
        await _end(mark)
        return Execution(exit_status=None, output=output.decode(errors="replace"))
    except asyncio.CancelledError:
        await _end(mark)
        raise
    except OSError as error:
        raise DockerUnavailable(f"the connection to the Docker Engine broke: {error}") from error
    except DockerRefused as error:
        if error.status in (404, 409):
            raise NotFound(f"container {container} does not run") from error
        raise Rejected(f"cannot run a command in {container}: {error.message}") from error
    return Execution(exit_status=exit_status, output=output.decode(errors="replace"))


async def _end(mark: str) -> None:
    await asyncio.shield(asyncio.to_thread(kill_all, lambda: marked(mark)))
