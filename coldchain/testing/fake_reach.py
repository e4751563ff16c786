"""Who answers, in memory."""


class FakeReach:
    """Implements `ports.network.Reach`. `lost`: addresses of those that do not; `asked`: all that was asked."""

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.asked: list[str] = []

    async def answers(self, address: str) -> bool:
        self.asked.append(address)
        return address not in self.lost
