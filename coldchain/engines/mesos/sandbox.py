"""sandbox: the output of tasks that Mesos's own Docker containerizer runs, read from their sandboxes by the agent."""

from collections.abc import AsyncIterator, Callable

from coldchain.clients.mesos.agent import AgentClient, FilesUnavailable, NoFile, Piece
from coldchain.model.errors import NotFound, Unavailable
from coldchain.model.mesos import MesosTask
from coldchain.ports.clock import Clock

PIECE_BYTES = 1 << 16
FOLLOW_SECONDS = 0.5
"""Between two looks at a file that may have grown."""
FILES = ("stdout", "stderr")
"""What the executor of Mesos writes there: the output of the container, and words of its own."""


class Sandboxes:
    """Of the tasks of a framework."""

    def __init__(self, client: AgentClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def close(self) -> None:
        await self._client.close()

    async def logs(
        self, task: MesosTask, framework_id: str, *, tail: int | None, live: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """Standard output, then what was written to standard error; from then on what comes, as long as it is `live`.
        `tail`: the last lines of each. Raises NotFound where nothing is kept, and Unavailable."""
        folder = f"/frameworks/{framework_id}/executors/{task.mesos_id}/runs/latest"
        at: dict[str, int] = {}
        for name in FILES:
            path = f"{folder}/{name}"
            at[path] = await self._start(task, path, tail)
            async for piece in self._rest(task, path, at):
                yield piece
        alive = live()
        while alive:
            await self._clock.sleep(FOLLOW_SECONDS)
            alive = live()  # before the last look, which is for its last words
            for path in at:
                async for piece in self._rest(task, path, at):
                    yield piece

    async def _rest(self, task: MesosTask, path: str, at: dict[str, int]) -> AsyncIterator[bytes]:
        while (piece := await self._read(task, path, at[path], PIECE_BYTES)).content:
            at[path] += len(piece.content)
            yield piece.content

    async def _start(self, task: MesosTask, path: str, tail: int | None) -> int:
        """Where the last lines begin."""
        if tail is None:
            return 0
        size = (await self._read(task, path, 0, 0)).size
        if tail == 0:
            return size
        start = size - 1  # a line end at the very end begins no other line
        lines = 0
        while start > 0:
            before = max(0, start - PIECE_BYTES)
            content = (await self._read(task, path, before, start - before)).content
            for place in range(len(content) - 1, -1, -1):
                if content[place] == ord("\n"):
                    lines += 1
                    if lines == tail:
                        return before + place + 1
            start = before
        return 0

    async def _read(self, task: MesosTask, path: str, offset: int, length: int) -> Piece:
        try:
            return await self._client.read_file(task.agent_url, path, offset, length)
        except NoFile as error:
            if not task.told.terminal:  # an agent that has just begun knows its sandboxes a moment later
                raise Unavailable(f"no output of task {task.task_id} is there yet") from error
            words = f"no output of task {task.task_id} is kept on its agent"
            raise NotFound(words, todo="See the app's last failure") from error
        except FilesUnavailable as error:
            raise Unavailable(str(error)) from error
