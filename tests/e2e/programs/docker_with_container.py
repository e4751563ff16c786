"""Run in a sandbox by test_sandbox.py: a Docker daemon with one container. Says `ready`, then waits for a line."""

import http.client
import io
import json
import shutil
import socket
import sys
import tarfile
from pathlib import Path

from coldchain.testing.sandbox import DockerDaemon


def ask(path: Path, method: str, target: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(path))
    try:
        connection.request(method, target, body, {"Content-Type": kind})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    assert response.status < 300, (target, response.status, answer)
    return answer


def image() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(shutil.which("busybox") or "", "bin/busybox")
    return archive.getvalue()


def main() -> None:
    daemon = DockerDaemon()
    daemon.start()  # and no close: the end of the sandbox has to do
    ask(daemon.socket, "POST", "/images/create?fromSrc=-&repo=sleeper", image(), "application/x-tar")
    definition = {"Image": "sleeper", "Cmd": ["/bin/busybox", "sleep", "1000"]}
    created = json.loads(ask(daemon.socket, "POST", "/containers/create", json.dumps(definition).encode()))
    ask(daemon.socket, "POST", f"/containers/{created['Id']}/start")
    print("ready", flush=True)
    sys.stdin.readline()


main()
