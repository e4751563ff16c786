"""A source of keys in memory."""

from coldchain.model.errors import Unavailable


class FakeKeySource:
    """Implements `ports.key_source.KeySource`. `bodies`: what is where; nothing answers at other addresses."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.bodies:
            raise Unavailable(f"{url} does not answer", todo="Start it")
        return self.bodies[url]

    async def close(self) -> None:
        self.bodies.clear()
