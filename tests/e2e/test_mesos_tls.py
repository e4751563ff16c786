"""`coldchain up --engine mesos` on a cluster that speaks TLS and asks who frameworks are; and how it leaves that."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings
from coldchain.testing.stage import Stage

MASTER = MasterSettings(agent_ping_timeout_seconds=5.0, credentials={"shop": "secret"})
UNTOLD = {"LIBPROCESS_SSL_ENABLED": "false", "LIBPROCESS_SSL_CA_FILE": ""}
"""An agent that tells its executors nothing of TLS, as agents do by themselves."""


@pytest.fixture
async def cluster(stage: Stage, tmp_path: Path) -> AsyncIterator[MesosLab]:
    credentials = tmp_path / "principal"
    credentials.write_text("shop:secret\n")
    async with MesosLab(tls=True) as lab:
        lab.folder.chmod(0o711)
        await lab.start_master(MASTER)
        await lab.start_agent(AgentSettings(variables=UNTOLD))
        await lab.registered(1)
        stage.up_options = [
            "--engine=mesos",
            f"--mesos-master={lab.master_address}",
            f"--mesos-authority={lab.authority}",
            f"--mesos-credentials-file={credentials}",
            f"--mesos-executor={sys.executable} -m coldchain executor",
        ]
        yield lab
        stage.down_options = stage.up_options
        await stage.down()


def coldchain(stage: Stage, *words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "coldchain", *words]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(stage.data), "COLDCHAIN_URL": stage.api}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.long
async def test_an_app_serves_over_a_cluster_with_tls_and_nothing_is_left_of_it(
    stage: Stage, cluster: MesosLab, shop: Callable[..., dict[str, Any]]
) -> None:
    await stage.start()
    await stage.create(shop(instances=1))
    (before,) = await stage.tasks("/shop")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{stage.gateway_port}/", headers={"Host": "shop.localhost"}) as answer,
    ):
        assert answer.status == 200
    assert coldchain(stage, "exec", "shop", "--", "echo", "fine") == "fine\n"
    assert "listening on port" in coldchain(stage, "logs", "shop")
    (framework,) = await cluster.operator.frameworks()
    assert framework["framework_info"]["principal"] == "shop"
    await stage.terminate()
    assert await stage.down() != 0  # without a word of where the tasks are
    assert "run on a cluster of Mesos" in stage.log_tail()
    (known,) = (await cluster.operator.tasks())["tasks"]
    assert known["task_id"]["value"] == before["id"]
    stage.down_options = stage.up_options
    assert await stage.down() == 0
    assert await cluster.operator.frameworks() == []
    assert (await cluster.operator.tasks()).get("tasks", []) == []
