"""status and why of an app that the only agent, with Mesos's own Docker containerizer, cannot run."""

from pathlib import Path

import msgspec

from coldchain.testing.command_server import Server, saved
from coldchain.testing.fake_engine import ONE_AGENT


def test_what_the_containerizer_cannot_run_is_told_with_the_reason(tmp_path: Path) -> None:
    server = Server(agents=[msgspec.structs.replace(ONE_AGENT, containerizer=True)])
    try:
        server.done("deploy", saved(tmp_path, instances=1, tty=True), "--detach")
        while not (refused := server.json("status", "shop")["refused"]):
            pass
        assert (refused[0]["reasons"], refused[0]["unsupported"]) == (
            {"UnfulfilledContainerizer": 1},
            ["it wants a terminal"],
        )
        assert "1 excluded by: the Docker containerizer of Mesos cannot run it: it wants a terminal" in server.done(
            "status", "shop"
        ).replace("\n", " ")
        assert "the Docker containerizer of Mesos cannot run it" in server.run("why", "/shop").stdout
    finally:
        server.close()
