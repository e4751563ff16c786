"""going_down: asks a platform that runs to stop everything. No heavy module: `down` may have nothing else to do."""

import contextlib
import http.client
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from coldchain.decisions.address import is_loopback
from coldchain.main.settings import api_socket
from coldchain.model.errors import Rejected

ANSWER_SECONDS = 10.0
LOOK_SECONDS = 0.2

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
            status = _request(connect(), "POST", "/v1/down")
        except (OSError, http.client.HTTPException):
            continue
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Rejected("the platform that runs here asks who you are", todo="Run this as root, with its --data.")
        if status >= HTTPStatus.BAD_REQUEST:
            raise Rejected(f"the platform that runs here does not go down: {status}", todo="Ask again in a moment.")
        while True:
            try:
                _request(connect(), "GET", "/ping")
            except (OSError, http.client.HTTPException):
                return True
            time.sleep(LOOK_SECONDS)
    return False


def _request(connection: http.client.HTTPConnection, method: str, path: str) -> int:
    with contextlib.closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        return response.status
