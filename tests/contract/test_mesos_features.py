"""What engine mesos does with features of real masters and agents."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coldchain.testing.engine_labs import make_spec
from coldchain.testing.mesos.settings import MasterSettings
from coldchain.testing.mesos_engine_lab import AGENT, Cluster

MASTER = MasterSettings(agent_ping_timeout_seconds=5.0)
UNTOLD = {"LIBPROCESS_SSL_ENABLED": "false", "LIBPROCESS_SSL_CA_FILE": ""}
"""An agent that tells its executors nothing of TLS, as agents do by themselves."""


@pytest.fixture
async def encrypted(docker_daemon: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(str(docker_daemon), tls=True)
    try:
        master = dataclasses.replace(MASTER, credentials={"shop": "secret"})
        await cluster.start(master=master, agent=dataclasses.replace(AGENT, variables=UNTOLD))
        yield cluster
    finally:
        cluster.close()


async def test_tasks_run_where_everybody_speaks_tls_and_asks_who_we_are(encrypted: Cluster) -> None:
    engine = await encrypted.engine(("shop", "secret"))
    try:
        spec = make_spec("serves")
        await engine.launch(spec)
        executed = await engine.execute(spec.task_id, "echo fine", 5.0)
        assert executed.output == "fine\n"
        (framework,) = await encrypted.lab.operator.frameworks()
        assert framework["framework_info"]["principal"] == "shop"
        await engine.kill(spec.task_id, 0.0)
        await engine.tear_down()
        assert await encrypted.lab.operator.frameworks() == []
        assert await encrypted.lab.operator.twice_counted() == []
    finally:
        await engine.close()
