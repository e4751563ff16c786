"""What several suites of the gateway have behind it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coldchain.testing.gateway_lab import GatewayLab, running_gateway
from coldchain.testing.raw_application import RawApplication, answers, raw_application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listening() -> AsyncIterator[RawApplication]:
    """One for a whole suite that runs in the loop of its module; its tests ask for `app`."""
    async with raw_application(answers) as application:
        yield application


@pytest.fixture
def app(listening: RawApplication) -> RawApplication:
    """With nothing of the tests before. A suite may have another one of its own."""
    listening.requests.clear()
    return listening


@pytest_asyncio.fixture(loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    """A gateway of the test's own, which may drain it. A suite may have another one, or one for all its tests."""
    async with running_gateway(worker_processes=1) as lab:
        yield lab
