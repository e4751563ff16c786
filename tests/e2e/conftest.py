"""The whole platform for a test: real Docker, real nginx, `coldchain up` in a process of its own."""

import asyncio
import copy
import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from coldchain.testing.application.image import ensure_image
from coldchain.testing.stage import Stage, make_stage

DOWN_SECONDS = 90.0
"""`coldchain down` waits for what a failed test has killed and left so; the next test shall begin all the same."""
EXAMPLE = Path(__file__).parents[2] / "examples" / "01-shop"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a new virtual environment into which the wheel was installed.

    There is no network in here: what the wheel depends on is lent by our own environment, and nothing else of it.
    """
    folder = tmp_path_factory.mktemp("installed")
    root = Path(__file__).parents[2]
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(root),
    ]
    subprocess.run(build, check=True)
    [wheel] = folder.glob("coldchain-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    programs = folder / "venv" / "bin"
    subprocess.run([programs / "pip", "install", "-q", "--no-index", "--no-deps", str(wheel)], check=True)
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return programs


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
        try:
            await stage.down(DOWN_SECONDS)
        finally:
            await stage.close()
            shutil.rmtree(stage.data, ignore_errors=True)
