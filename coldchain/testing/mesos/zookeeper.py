"""ZooKeeper as Debian packs it: one server, on loopback unless told otherwise, without its service."""

import asyncio
import os
import secrets
import shutil
from pathlib import Path

from coldchain.model.errors import Unavailable
from coldchain.testing.mesos.machine import Machine

JAR, LOGGER = Path("/usr/share/java/zookeeper.jar"), Path("/usr/share/java/slf4j-simple.jar")
BEGINS = "org.apache.zookeeper.server.PrepRequestProcessor"
"""The part of it that says a word once the data are there."""
TICK_MILLISECONDS = 200
"""Sessions last 2 to 20 ticks: a dead master is noticed within its session."""


class ZooKeeper(Machine):
    """`address` is HOST:PORT."""

    def __init__(self, folder: Path, port: int, address: str = "127.0.0.1") -> None:
        java = shutil.which("java")
        if java is None or not JAR.exists():
            raise Unavailable("No ZooKeeper here", todo="Run bin/setup")
        super().__init__(f"zookeeper-{secrets.token_hex(3)}", folder)
        self.address = f"{address}:{port}"
        data = self.folder / "data"
        data.mkdir()
        # The last one: Java fails over cgroups that it cannot make out, as those of a machine within a machine.
        options = [
            "-Xmx64m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xshare:auto",
            "-XX:-UsePerfData",
            "-XX:-UseContainerSupport",
        ]
        properties = {
            "zookeeper.admin.enableServer": "false",
            "zookeeper.fsync.warningthresholdms": "60000",
            "org.slf4j.simpleLogger.defaultLogLevel": "warn",
            f"org.slf4j.simpleLogger.log.{BEGINS}": "info",
        }
        configuration = self.folder / "zoo.cfg"
        configuration.write_text(
            f"clientPort={port}\nclientPortAddress={address}\ndataDir={data}\ntickTime={TICK_MILLISECONDS}\n"
            "maxClientCnxns=0\n4lw.commands.whitelist=srvr\n"
        )
        self.command(
            [
                java,
                *options,
                *(f"-D{name}={value}" for name, value in properties.items()),
                f"-Djava.io.tmpdir={self.folder}",
                "-cp",
                f"{JAR}:{LOGGER}",
                "org.apache.zookeeper.server.ZooKeeperServerMain",
                str(configuration),
            ],
            {"PATH": os.environ["PATH"]},
        )

    async def serves(self) -> bool:
        """It listens before it has its data, and a connection that comes in between can end it: its log says when."""
        if BEGINS not in self.log.read_text():
            return False
        host, _, port = self.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(b"srvr")
            return b"Mode:" in await reader.read()
        finally:
            writer.close()
