"""A small executor of the v1 API: runs a task's command with /bin/sh, or sleeps for ever for one that has none.

Stands in for `mesos-executor` (a task with a command and no executor) and, called with `--container=NAME` as the Docker
containerizer does, for `mesos-docker-executor`. Is the custom executor of `BareScheduler`, where the command is the
task's `data`. Lives on without its agent, as one of a framework with checkpoints should.
"""

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

RETRY_SECONDS = 0.1
ENVIRONMENT = os.environ
HOST, _, PORT = ENVIRONMENT.get("MESOS_AGENT_ENDPOINT", "").partition(":")
PATH = f"/{ENVIRONMENT.get('MESOS_SLAVE_PID', '').partition('@')[0]}/api/v1/executor"  # their word
ENCRYPTED = ENVIRONMENT.get("LIBPROCESS_SSL_ENABLED") in ("1", "true")
TRUST = ssl.create_default_context(cafile=ENVIRONMENT.get("LIBPROCESS_SSL_CA_FILE")) if ENCRYPTED else None
WHO = {
    "framework_id": {"value": ENVIRONMENT.get("MESOS_FRAMEWORK_ID", "")},
    "executor_id": {"value": ENVIRONMENT.get("MESOS_EXECUTOR_ID", "")},
}


class Executor:
    """What is not acknowledged is told again with each subscription. `carrier` carries a task out, see `process`."""

    def __init__(self, carrier: Callable[[dict[str, Any], Callable[[str], None]], Awaitable[int]]) -> None:
        self.carrier = carrier
        self.tasks: dict[str, dict[str, Any]] = {}
        self.updates: dict[str, dict[str, Any]] = {}
        self.running: dict[str, asyncio.Task[None]] = {}
        self.sending: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def run(self) -> None:
        """Until SHUTDOWN, or until the agent has been away for the recovery time-out."""
        patience_seconds = seconds(ENVIRONMENT.get("MESOS_RECOVERY_TIMEOUT", "15mins"))
        lost = time.monotonic()
        while time.monotonic() < lost + patience_seconds:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._subscription()
                lost = time.monotonic()
            if ENVIRONMENT.get("MESOS_CHECKPOINT") != "1":
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscription(self) -> None:
        again = {
            "unacknowledged_updates": list(self.updates.values()),
            "unacknowledged_tasks": list(self.tasks.values()),
        }
        self.sending = asyncio.Queue()
        reader, writer = await post({"type": "SUBSCRIBE", **WHO, "subscribe": again})
        if await status(reader) != 200:
            writer.close()
            raise OSError("not subscribed")
        sender = asyncio.create_task(self._send())
        try:
            async for event in events(reader):
                await self._take(event)
        finally:
            sender.cancel()
            writer.close()

    async def _send(self) -> None:
        """What cannot be sent now is told again with the next subscription."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await post(await self.sending.get())
                await status(reader)
                writer.close()

    async def _take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "LAUNCH":
            task = event["launch"]["task"]
            self.tasks[task["task_id"]["value"]] = task
            self.running[task["task_id"]["value"]] = asyncio.create_task(self._run_task(task))
        elif kind == "KILL" and (task := self.running.get(event["kill"]["task_id"]["value"])):
            if not task.cancelling():
                task.cancel()
        elif kind == "ACKNOWLEDGED":
            self.updates.pop(event["acknowledged"]["uuid"], None)
            self.tasks.pop(event["acknowledged"]["task_id"]["value"], None)
        elif kind == "SHUTDOWN":
            for task in self.running.values():
                task.cancel()
            await asyncio.gather(*self.running.values(), return_exceptions=True)
            await asyncio.sleep(RETRY_SECONDS)
            os._exit(0)

    async def _run_task(self, task: dict[str, Any]) -> None:
        name = task["task_id"]["value"]
        try:
            ended = await self.carrier(task, lambda address: self._running(task, address))
            message = f"Container exited with status {ended}" if "container" in task else f"exit status {ended}"
            self._update(name, "TASK_FAILED" if ended else "TASK_FINISHED", message=message)
        except asyncio.CancelledError:
            self._update(name, "TASK_KILLED")
        finally:
            del self.running[name]

    def _running(self, task: dict[str, Any], address: str) -> None:
        if not address:
            self._update(task["task_id"]["value"], "TASK_RUNNING")
            return
        [network] = task.get("container", {}).get("network_infos") or [{}]
        network = {**network, "ip_addresses": [{"ip_address": address}]}
        self._update(task["task_id"]["value"], "TASK_RUNNING", container_status={"network_infos": [network]})

    def _update(self, task: str, state: str, **more: Any) -> None:
        identity = base64.b64encode(uuid.uuid4().bytes).decode()
        said = {"source": "SOURCE_EXECUTOR", "uuid": identity, "timestamp": time.time(), **more}
        executor = {"executor_id": WHO["executor_id"]}
        update = {"status": {"task_id": {"value": task}, "state": state, **executor, **said}}
        self.updates[identity] = update
        self.sending.put_nowait({"type": "UPDATE", **WHO, "update": update})


async def process(task: dict[str, Any], started: Callable[[str], None]) -> int:
    """Run it, say when it is started, return its exit status; cancelled, end it."""
    command = task.get("command", {}).get("value") or base64.b64decode(task.get("data", "")).decode()
    words = ("/bin/sh", "-c", command or "exec sleep inf")
    child = await asyncio.create_subprocess_exec(*words, start_new_session=True)
    started("")
    try:
        return await child.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
        raise


async def container(task: dict[str, Any], started: Callable[[str], None]) -> int:
    """The same with a container of Docker, by the flags that the containerizer gave; its address is said, where it has
    one of its own. Its output is that of this program, which the agent keeps in the sandbox."""
    flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
    docker, name = ("docker", "-H", f"unix://{flags['docker_socket']}"), flags["container"]
    running = await asyncio.create_subprocess_exec(*docker, "run", f"--name={name}", *docker_words(task, flags))
    try:
        address = None
        while running.returncode is None and address is None:
            await asyncio.sleep(RETRY_SECONDS)
            address = await inspected(*docker, "inspect", f"--format={INSPECTED}", name)
        if address is not None:
            started(address)
        return await running.wait()
    except asyncio.CancelledError:
        nanoseconds = task.get("kill_policy", {}).get("grace_period", {}).get("nanoseconds", 3e9)
        stop = await asyncio.create_subprocess_exec(*docker, "stop", f"--time={round(nanoseconds / 1e9)}", name)
        if await stop.wait() != 0:
            running.kill()  # it was not there yet
        if await running.wait() == 0:
            return 0
        raise


INSPECTED = "{{.State.StartedAt}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
NEVER = "0001-01-01"
"""In Docker's words for when a container was started that is not."""


async def inspected(*words: str) -> str | None:
    """The address of a container that was started, empty for none of its own; None for one that was not."""
    child = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await child.communicate()
    started_at, _, address = output.decode().strip().partition(" ")
    return address if started_at and not started_at.startswith(NEVER) else None


def docker_words(task: dict[str, Any], flags: dict[str, str]) -> list[str]:
    """What `docker run` is called with."""
    asked, command = task["container"]["docker"], task.get("command", {})
    network = asked.get("network", "HOST").lower()
    if network == "user":
        network = task["container"]["network_infos"][0]["name"]
    amounts = {one["name"]: one["scalar"]["value"] for one in task["resources"] if one["type"] == "SCALAR"}
    limits = {name: one["value"] for name, one in task.get("limits", {}).items()}
    options = [
        f"--cpu-shares={max(2, round(1024 * amounts['cpus']))}",
        f"--memory={round(limits.get('mem', amounts['mem']) * 2**20)}",
        *([f"--cpus={limits['cpus']}"] if "cpus" in limits else []),
        *(["--privileged"] if asked.get("privileged") else []),
        f"--net={network}",
        f"--volume={flags['sandbox_directory']}:{flags['mapped_directory']}",
        *(
            f"--volume={one['host_path']}:{one['container_path']}:{one['mode'].lower()}"
            for one in task["container"].get("volumes", ())
        ),
        *(f"--env={one['name']}={one['value']}" for one in command.get("environment", {}).get("variables", ())),
        *(
            f"--publish={one['host_port']}:{one['container_port']}/{one.get('protocol', 'tcp')}"
            for one in asked.get("port_mappings", ())
        ),
        *(f"--{one['key']}={one['value']}" for one in asked.get("parameters", ())),
    ]
    if command.get("shell", True) and "value" in command:
        return [*options, "--entrypoint=/bin/sh", asked["image"], "-c", command["value"]]
    return [*options, asked["image"], *command.get("arguments", ())]


async def post(body: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, int(PORT), limit=1 << 26, ssl=TRUST)
    content = json.dumps(body).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
    )
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return reader, writer


async def status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


async def events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Records behind their lengths, in HTTP's chunks."""
    buffer = b""
    while (length := int((await reader.readuntil(b"\r\n")).strip(), 16)) != 0:
        buffer += (await reader.readexactly(length + 2))[:-2]
        while (end := buffer.find(b"\n")) >= 0 and len(buffer) > end + int(buffer[:end]):
            after = end + 1 + int(buffer[:end])
            yield json.loads(buffer[end + 1 : after])
            buffer = buffer[after:]


def seconds(duration: str) -> float:
    """Of Mesos's own form, such as `15mins`."""
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "secs": 1.0, "mins": 60.0, "hrs": 3600.0, "days": 86400.0}
    number = duration.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * units[duration.removeprefix(number)]


if __name__ == "__main__":
    asyncio.run(Executor(container if any("--container=" in word for word in sys.argv) else process).run())
    sys.exit(0)
