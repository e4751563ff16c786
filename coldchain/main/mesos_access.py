"""mesos access: how a cluster of Mesos is reached, as `up` is told. What reaches it takes long to import."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.model.errors import InvalidDocument, Problem

ZOOKEEPER = "zk://"
COMMAND = "coldchain executor"
CONTAINERIZERS = ("executor", "docker")


@dataclass(frozen=True, kw_only=True)
class MesosAccess:
    """How a cluster of Mesos is reached, and what we are there."""

    master: str
    """`zk://HOST:PORT,…/PATH` where masters are elected, or HOST:PORT of each, with commas between them."""

    roles: tuple[str, ...] = ("*",)
    """Roles of the framework."""

    credentials: str | None = field(default=None, repr=False)
    """PRINCIPAL:SECRET of the framework, where masters authenticate."""

    authority: Path | None = None
    """Certificates of those who vouch for the masters: then they are talked to over TLS."""

    executor: str = COMMAND
    """What agents start: a program and its arguments, with blanks between them."""

    containerizer: str = "executor"
    """Who runs tasks on agents that do not say so: `executor`, ours, or `docker`, their own Docker containerizer."""

    def check(self) -> None:
        """Raises InvalidDocument with every problem, by the option that it comes from."""
        problems = []
        try:
            masters_of(self.master)
        except ValueError as error:
            problems.append(Problem(path="--mesos-master", reason=str(error)))
        if self.credentials is not None and not all(self.credentials.partition(":")):
            problems.append(Problem(path="--mesos-credentials-file", reason="it does not hold PRINCIPAL:SECRET"))
        if not self.executor.split():
            problems.append(Problem(path="--mesos-executor", reason="it names no program"))
        if self.containerizer not in CONTAINERIZERS:
            reason = f"{self.containerizer!r} is neither {' nor '.join(CONTAINERIZERS)}"
            problems.append(Problem(path="--mesos-containerizer", reason=reason))
        if self.authority is not None:
            try:
                ssl.create_default_context(cafile=str(self.authority))
            except (OSError, ssl.SSLError) as error:
                problems.append(Problem(path="--mesos-authority", reason=f"{self.authority} cannot be read: {error}"))
        if problems:
            raise InvalidDocument(problems)


def masters_of(text: str) -> ZooKeeperAddress | tuple[str, ...]:
    """Where they are elected, or each of them. Raises ValueError."""
    if text.startswith(ZOOKEEPER):
        return ZooKeeperAddress.parse(text)
    masters = tuple(text.split(","))
    for one in masters:
        host, _, port = one.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{one!r} is neither HOST:PORT nor zk://HOST:PORT/PATH")
    return masters
