"""Real etcd members of a test's own on loopback: killed, frozen, started again, with users and over TLS."""

import asyncio
import contextlib
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from coldchain.clients.etcd import Document, EtcdClient, EtcdUnavailable, encoded, end_of
from coldchain.store.etcd import OPERATIONS_ADVISED, REQUEST_BYTES_ADVISED
from coldchain.testing.certificates import Authority
from coldchain.testing.ports import free_ports
from coldchain.testing.server_process import ServerProcess

HEARTBEAT_MILLISECONDS, ELECTION_MILLISECONDS = 50, 250
"""So that a leader is found in half a second, and a lease of one second is granted."""
PATIENCE_SECONDS = 30.0
LOOPBACK = "127.0.0.1"
LIMITS = (f"--max-txn-ops={OPERATIONS_ADVISED}", f"--max-request-bytes={REQUEST_BYTES_ADVISED}")
"""As the documentation says."""


class EtcdMember(ServerProcess):
    """One process with a folder of its own."""

    def __init__(self, cluster: "EtcdCluster", number: int, client_port: int, peer_port: int) -> None:
        super().__init__(f"member-{number}")
        self.url = f"{cluster.scheme}://{cluster.address}:{client_port}"
        self.peer_url = f"http://{cluster.address}:{peer_port}"
        self._cluster = cluster
        self._folder = cluster.folder / self.name

    def start(self) -> None:
        command = ["etcd", "--name", self.name]
        command += ["--data-dir", str(self._folder), "--initial-cluster", self._cluster.peers]
        command += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        command += ["--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url]
        command += [f"--heartbeat-interval={HEARTBEAT_MILLISECONDS}", f"--election-timeout={ELECTION_MILLISECONDS}"]
        command += ["--logger=zap", "--log-level=warn", *self._cluster.options]
        self.begin(command, self._cluster.folder / f"{self.name}.log")


class EtcdCluster:
    """Members that know each other. `authority`: of the certificates with which they speak TLS to their clients, of
    whom they want one of its as well. `options`: more of etcd's own. `address`: where they listen."""

    def __init__(
        self,
        folder: Path,
        size: int = 1,
        *,
        authority: Authority | None = None,
        options: Sequence[str] = LIMITS,
        address: str = LOOPBACK,
    ) -> None:
        self.folder = folder
        self.address = address
        self.authority = authority
        self.scheme = "https" if authority else "http"
        self.options = [*options, *(_tls_options(authority) if authority else ())]
        ports = free_ports(2 * size)
        self.members = [EtcdMember(self, one, *ports[2 * one : 2 * one + 2]) for one in range(size)]

    @property
    def urls(self) -> list[str]:
        return [one.url for one in self.members]

    @property
    def addresses(self) -> str:
        """As in `--store etcd://…`."""
        return ",".join(one.url.partition("://")[2] for one in self.members)

    @property
    def peers(self) -> str:
        """How the members find each other."""
        return ",".join(f"{one.name}={one.peer_url}" for one in self.members)

    def start(self) -> None:
        for member in self.members:
            member.start()

    def stop(self) -> None:
        for member in self.members:
            member.kill()

    def client(self, **options: Any) -> EtcdClient:
        tls = client_context(self.authority) if self.authority else None
        return EtcdClient(self.urls, **{"tls": tls, **options})

    async def ready(self, **options: Any) -> None:
        """Once there is a leader. Fails with what the members said."""
        async with closing(self.client(timeout_seconds=PATIENCE_SECONDS, **options)) as client:
            try:
                await client.revision(b"/")
            except EtcdUnavailable as error:
                logs = [path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log"))]
                raise AssertionError(f"etcd does not become ready: {error}; {logs}") from error

    async def compact(self) -> None:
        """Forget everything that was before."""
        async with closing(self.client()) as client:
            body = {"revision": str(await client.revision(b"/")), "physical": True}
            await client.call("/v3/kv/compaction", body, repeatable=True)

    async def leader(self) -> EtcdMember:
        """Once all members that run agree on one."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    statuses = [(one, await _status(one)) for one in self.members if one.running]
                except EtcdUnavailable:
                    continue  # one has only been started
                leaders = {status["leader"] for _, status in statuses}
                if len(leaders) == 1:
                    for member, status in statuses:
                        if status["header"]["member_id"] in leaders:
                            return member
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def closing(client: EtcdClient) -> AsyncIterator[EtcdClient]:
    try:
        yield client
    finally:
        await client.close()


async def _status(member: EtcdMember) -> Document:
    async with closing(EtcdClient([member.url], timeout_seconds=1.0)) as client:
        return {"leader": "", **await client.call("/v3/maintenance/status", {}, repeatable=True)}


async def require_users(cluster: EtcdCluster, user: str, password: str, prefix: str) -> None:
    """From now on the cluster asks who somebody is: `root` may do everything with the same password, `user` what lies
    below the prefix."""
    key, end = prefix.encode(), end_of(prefix.encode())
    permission = {"permType": "READWRITE", "key": encoded(key), "range_end": encoded(end)}
    steps: list[tuple[str, Document]] = [
        ("user/add", {"name": "root", "password": password}),
        ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("user/add", {"name": user, "password": password}),
        ("role/add", {"name": user}),
        ("role/grant", {"name": user, "perm": permission}),
        ("user/grant", {"user": user, "role": user}),
        ("enable", {}),
    ]
    async with closing(cluster.client()) as client:
        for path, body in steps:
            await client.call(f"/v3/auth/{path}", body, repeatable=False)


@contextlib.contextmanager
def etcd_cluster(
    size: int = 1, *, tls: bool = False, options: Sequence[str] = LIMITS, address: str = LOOPBACK
) -> Iterator[EtcdCluster]:
    """Started, perhaps not yet ready; nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="coldchain-etcd-"))
    try:
        authority = Authority(folder) if tls else None
        cluster = EtcdCluster(folder, size, authority=authority, options=options, address=address)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)


def client_files(authority: Authority) -> Path:
    """Certificate and key of a client whom the members of this authority believe. Without a common name: where users
    have passwords, etcd's JSON gateway refuses certificates that have one."""
    return authority.made("coldchain", "client", common_name=False)


def client_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(client_files(authority))
    return context


def _tls_options(authority: Authority) -> list[str]:
    # The JSON gateway of a member is a client of the same member and shows its certificate.
    own = authority.made("etcd", "both", [LOOPBACK])
    # etcd reads whatever is in the file of authorities as a certificate, also a key.
    trusted = authority.file.with_name("trusted.pem")
    trusted.write_text(authority.file.read_text().partition("-----BEGIN PRIVATE")[0])
    return [f"--cert-file={own}", f"--key-file={own}", f"--trusted-ca-file={trusted}", "--client-cert-auth"]
