"""Mesos's own Docker containerizer, with a stand-in for the program it starts."""

import subprocess
from pathlib import Path

from coldchain.testing.application.image import ensure_image
from coldchain.testing.mesos.bare_scheduler import BareScheduler
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings


async def test_a_task_in_docker_runs_as_a_container_of_that_engine(docker_daemon: Path) -> None:
    await ensure_image(str(docker_daemon))
    image = "coldchain/shop:v1"
    settings = AgentSettings(containerizers="docker,mesos", docker_socket=str(docker_daemon))

    def names(*options: str) -> str:
        command = ["docker", "-H", f"unix://{docker_daemon}", "ps", "--format", "{{.Names}} {{.Image}}", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    async with MesosLab() as lab:
        await lab.start_master()
        await lab.start_agent(settings)
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer()
            task = scheduler.command_task("contained", offer, "") | {
                "container": {"type": "DOCKER", "docker": {"image": image, "network": "BRIDGE"}},
                "command": {"shell": False},
            }
            await scheduler.launch(offer, task)
            running = await scheduler.update("contained", "TASK_RUNNING", "TASK_FAILED")
            assert running["state"] == "TASK_RUNNING", running
            container = f"mesos-{running['container_status']['container_id']['value']} {image}"
            assert container in names()
            await scheduler.kill("contained")
            await scheduler.update("contained", "TASK_FINISHED")  # it exits with 0, and Mesos says of that no more
            assert container not in names()
