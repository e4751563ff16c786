"""An executor that runs nothing: of each task it is given it says at once that it runs, and that it was killed when it
is to end. Costs as little as it can, so that a bench measures who launches. Lives and ends with its agent's stream.
"""

import base64
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from typing import BinaryIO

ENVIRONMENT = os.environ
PATH = f"/{ENVIRONMENT.get('MESOS_SLAVE_PID', '').partition('@')[0]}/api/v1/executor"  # their word
WHO = {
    "framework_id": {"value": ENVIRONMENT.get("MESOS_FRAMEWORK_ID", "")},
    "executor_id": {"value": ENVIRONMENT.get("MESOS_EXECUTOR_ID", "")},
}


def connect() -> tuple[socket.socket, BinaryIO]:
    host, _, port = ENVIRONMENT["MESOS_AGENT_ENDPOINT"].partition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection, connection.makefile("rb")


def request(body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def read_head(answer: BinaryIO) -> tuple[int, int]:
    """The status and the length of what follows."""
    status = int(answer.readline().split()[1])
    length = 0
    while (line := answer.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, length


def records(answer: BinaryIO) -> Iterator[list[bytes]]:
    """Those that came together: records behind their lengths, in HTTP's chunks."""
    buffer = b""
    while line := answer.readline().strip():
        size = int(line, 16)
        if size == 0:
            return
        buffer += answer.read(size + 2)[:-2]
        found: list[bytes] = []
        while (end := buffer.find(b"\n")) >= 0 and len(buffer) > end + int(buffer[:end]):
            after = end + 1 + int(buffer[:end])
            found.append(buffer[end + 1 : after])
            buffer = buffer[after:]
        yield found


def update(task_id: str, state: str) -> bytes:
    status = {
        "task_id": {"value": task_id},
        "executor_id": WHO["executor_id"],
        "state": state,
        "source": "SOURCE_EXECUTOR",
        "uuid": base64.b64encode(uuid.uuid4().bytes).decode(),
        "timestamp": time.time(),
    }
    return request({"type": "UPDATE", **WHO, "update": {"status": status}})


def said(record: bytes) -> bytes | None:
    """What it says to an event."""
    event = json.loads(record)
    if event["type"] == "LAUNCH":
        return update(event["launch"]["task"]["task_id"]["value"], "TASK_RUNNING")
    if event["type"] == "KILL":
        return update(event["kill"]["task_id"]["value"], "TASK_KILLED")
    if event["type"] == "SHUTDOWN":
        sys.exit(0)
    return None


def main() -> None:
    events, stream = connect()
    events.sendall(request({"type": "SUBSCRIBE", **WHO, "subscribe": {}}))
    if read_head(stream)[0] != 200:
        sys.exit("the agent refuses")
    sending, answers = connect()
    for some in records(stream):
        updates = [told for one in some if (told := said(one)) is not None]
        sending.sendall(b"".join(updates))
        for _ in updates:
            status, length = read_head(answers)
            if status != 202:
                sys.exit(f"the agent refuses: {answers.read(length).decode()}")


if __name__ == "__main__":
    main()
