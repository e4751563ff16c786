"""beside: sockets that belong to a task's own network, for questions that only somebody beside the task can ask."""

import asyncio
import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor

CLONE_NEWNET = 0x40000000
_LIBRARY = ctypes.CDLL(None, use_errno=True)


async def open_socket(namespace: str | None, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket in the network namespace at that path; None: in our own. Raises OSError.

    A socket stays in the network where it was made, wherever it is used. Threads enter networks one by one, so a thread
    made for this one socket goes there, and never comes back.
    """
    if namespace is None:
        return socket.socket(family, socket.SOCK_STREAM)
    there = ThreadPoolExecutor(1, "beside")
    try:
        return await asyncio.get_running_loop().run_in_executor(there, _make, namespace, family)
    finally:
        there.shutdown(wait=False)


def _make(namespace: str, family: socket.AddressFamily) -> socket.socket:
    with open(namespace) as file:
        if _LIBRARY.setns(file.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    return socket.socket(family, socket.SOCK_STREAM)
