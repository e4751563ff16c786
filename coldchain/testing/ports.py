"""ports: TCP ports of loopback for servers that are started later, or again and again."""

import secrets
import socket

RANGE = range(10_000, 16_000)
"""Below those that the kernel gives to whoever asks for any, and apart from those that agents of a lab offer."""

_given: set[int] = set()


def free_port() -> int:
    """One that nobody has bound, and that this process was not given before: who starts late finds it free."""
    while True:
        port = secrets.choice(RANGE)
        if len(_given) > len(RANGE) // 2:
            _given.clear()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]
