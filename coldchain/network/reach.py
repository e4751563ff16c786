"""reach: whether a machine answers at all: also one that refuses a connection is there."""

import asyncio

BGP_PORT = 179
ANSWER_SECONDS = 0.3


class TcpReach:
    """Implements ports.network.Reach."""

    async def answers(self, address: str) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                _, writer = await asyncio.open_connection(address, BGP_PORT)
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        except OSError:  # a TimeoutError is one
            return False
        writer.close()
        return True
