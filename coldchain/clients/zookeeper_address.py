"""The address of something in ZooKeeper; apart from its client, which takes long to import."""

from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True, kw_only=True)
class ZooKeeperAddress:
    """`hosts` as HOST:PORT,HOST:PORT; `credential` for the scheme `digest`, NAME:PASSWORD."""

    hosts: str
    path: str
    credential: str = ""

    @classmethod
    def parse(cls, text: str) -> "ZooKeeperAddress":
        """Of `zk://[NAME:PASSWORD@]HOST:PORT[,HOST:PORT…]/PATH`. Raises ValueError."""
        if not text.startswith("zk://"):
            raise ValueError(f"{text!r} does not begin with zk://")
        credential, _, rest = text.removeprefix("zk://").rpartition("@")
        hosts, _, path = rest.partition("/")
        if not hosts or not path.strip("/") or not all(hosts.split(",")):
            raise ValueError("it is not zk://HOST:PORT[,HOST:PORT...]/PATH")
        if credential and ":" not in credential:
            raise ValueError("what stands before @ is not NAME:PASSWORD")
        return cls(hosts=hosts, path=f"/{path.strip('/')}", credential=unquote(credential))
