"""The whole platform for a test: real Docker, real nginx, `coldchain up` in a process of its own."""

import asyncio
import copy
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from coldchain.testing.application.image import ensure_image
from coldchain.testing.stage import Stage, make_stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-shop"


@pytest.fixture
def shop() -> Callable[..., dict[str, Any]]:
    """The example's definition; fields given replace its own."""

    def make(**fields: object) -> dict[str, Any]:
        app: dict[str, Any] = json.loads((EXAMPLE / "shop.json").read_text())
        return copy.deepcopy(app) | fields

    return make


@pytest.fixture
async def stage(docker_daemon: Path) -> AsyncIterator[Stage]:
    """A platform that is not started yet; everything it started is stopped afterwards."""
    await asyncio.gather(*(ensure_image(str(docker_daemon), tag=tag) for tag in ("v1", "v2")))
    stage = make_stage(docker_daemon)
    try:
        yield stage
    finally:
        await stage.down()
        await stage.close()
        shutil.rmtree(stage.data, ignore_errors=True)
