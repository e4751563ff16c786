"""going_down: asks a platform that runs to stop everything. No heavy module: `down` may have nothing else to do."""

import contextlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from coldchain.decisions.address import is_loopback
from coldchain.main.settings import api_socket
from coldchain.model.errors import Rejected

ANSWER_SECONDS = 10.0
LOOK_SECONDS = 0.2
WORDLESS_SECONDS = 10.0
"""So long nobody is told what is waited for: an app that ends properly takes a moment."""
AGAIN_SECONDS = 30.0

Connect = Callable[[], http.client.HTTPConnection]


class _SocketConnection(http.client.HTTPConnection):
    """By a socket of this machine."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask_to_go_down(data: Path, host: str, port: int) -> bool:
    """Ask a running `up`, by the socket in its folder or else where it listens, and wait until it has gone. False when
    none answers. Raises Rejected when one does and asks who we are."""
    ways: list[Connect] = [lambda: _SocketConnection(api_socket(data))]
    if is_loopback(host):
        ways.append(lambda: http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS))
    for connect in ways:
        try:
            status, _ = _request(connect(), "POST", "/v1/down")
        except (OSError, http.client.HTTPException):
            continue
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Rejected("the platform that runs here asks who you are", todo="Run this as root, with its --data.")
        if status == HTTPStatus.CONFLICT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Rejected(f"the platform that runs here does not go down: {status}", todo="Ask again in a moment.")
        if status != HTTPStatus.ACCEPTED:
            continue  # another program
        _wait(connect)
        return True
    return False


def _wait(connect: Connect) -> None:
    """Until it has gone; now and then whoever asked is told what it waits for."""
    tell_at = time.monotonic() + WORDLESS_SECONDS
    while True:
        telling = time.monotonic() >= tell_at
        try:
            _, text = _request(connect(), "GET", "/v1/status" if telling else "/ping")
        except (OSError, http.client.HTTPException):
            return
        if telling:
            tell_at = time.monotonic() + AGAIN_SECONDS
            for line in waits(text):
                print(f"coldchain: waiting for {line}", file=sys.stderr)  # noqa: T201 -- for whoever asked
        time.sleep(LOOK_SECONDS)


def waits(status: bytes) -> list[str]:
    """What keeps a platform from going down, by what it says of itself: a line for each app."""
    try:
        apps: list[dict[str, Any]] = json.loads(status)["apps"]
    except (ValueError, KeyError, TypeError):
        return []
    return [f"{one['id']}: {one['explain']}" for one in apps if one.get("explain")]


def _request(connection: http.client.HTTPConnection, method: str, path: str) -> tuple[int, bytes]:
    with contextlib.closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
