"""What is said of a gateway that does not answer."""

import asyncio
from pathlib import Path

import pytest

from coldchain.gateway.control_socket import ControlSocket
from coldchain.model.errors import Unavailable


async def test_a_gateway_that_accepts_and_says_nothing_is_told_with_the_time_it_had(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_unix_server(say_nothing, tmp_path / "socket")
    control = ControlSocket(tmp_path / "socket", 0.05)
    async with server:
        with pytest.raises(Unavailable, match=r"socket does not answer: no answer in 0\.05 s"):
            await control.state()
        await control.close()
        over.set()
