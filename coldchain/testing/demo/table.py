"""table: the demo as it goes on: a live table on a terminal, plain lines elsewhere."""

import asyncio
import contextlib
import time
from collections import Counter
from typing import Any

import aiohttp
from rich.console import Console
from rich.live import Live
from rich.table import Table

from coldchain.testing.driven import DrivenPlatform, StepFailed
from coldchain.testing.load.generator import Generator

REFRESH_SECONDS = 0.5


class Board:
    """Shows the steps with their numbers, and the instances by phase. Writes to standard error."""

    def __init__(self, stage: DrivenPlatform, generator: Generator) -> None:
        self._stage = stage
        self._generator = generator
        self._console = Console(stderr=True)
        self._steps: list[list[Any]] = []
        self._phases: dict[str, Counter[str]] = {}

    def began(self, name: str) -> None:
        """A step begins; the one before has ended."""
        counts = self._generator.counts
        self._close(counts.sent, counts.failed)
        self._steps.append([name, time.monotonic(), None, counts.sent, counts.failed])
        if not self._console.is_terminal:
            self._console.print(f"{name} …", highlight=False)

    def _close(self, sent: int, failed: int) -> None:
        if self._steps and self._steps[-1][2] is None:
            step = self._steps[-1]
            step[2] = time.monotonic() - step[1]
            step[3], step[4] = sent - step[3], failed - step[4]
            if not self._console.is_terminal:
                self._console.print(f"  {step[2]:.1f} s, {step[3]} requests, {step[4]} failed", highlight=False)

    async def run(self) -> None:
        """Until cancelled."""
        if not self._console.is_terminal:
            await asyncio.Event().wait()
        with Live(self._table(), console=self._console, auto_refresh=False) as live:
            try:
                while True:
                    await self._look()
                    live.update(self._table(), refresh=True)
                    await asyncio.sleep(REFRESH_SECONDS)
            finally:
                live.update(self._table(), refresh=True)

    async def _look(self) -> None:
        for app in ("/shop", "/cart"):
            with contextlib.suppress(aiohttp.ClientError, StepFailed, TimeoutError):
                self._phases[app] = Counter(task["phase"] for task in await self._stage.tasks(app))

    def _table(self) -> Table:
        counts = self._generator.counts
        title = f"{counts.sent} requests, {counts.failed} failed, {counts.in_flight} in flight"
        instances = "; ".join(
            f"{app} {', '.join(f'{count} {phase}' for phase, count in sorted(phases.items()))}"
            for app, phases in self._phases.items()
        )
        table = Table(title=title, caption=instances or None, title_justify="left", caption_justify="left")
        table.add_column("step", min_width=38)
        for column in ("seconds", "requests", "failed"):
            table.add_column(column, justify="right")
        for name, began, seconds, sent, failed in self._steps:
            if seconds is None:
                now = (f"{time.monotonic() - began:.1f}", str(counts.sent - sent), str(counts.failed - failed))
                table.add_row(f"[bold]{name}[/bold]", *now)
            else:
                table.add_row(name, f"{seconds:.1f}", str(sent), str(failed))
        return table
