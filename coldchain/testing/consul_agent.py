"""Real Consul agents of a test's own on loopback: killed, frozen, forgetful, with access control lists and over TLS."""

import contextlib
import http.client
import json
import shutil
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coldchain.testing.certificates import Authority
from coldchain.testing.consul_program import find_consul
from coldchain.testing.ports import free_ports
from coldchain.testing.server_process import ServerProcess

PATIENCE_SECONDS = 60.0
LOOPBACK = "127.0.0.1"


MADE_BY_ITSELF = Path("/tmp/consul-test")
"""An empty folder that the program makes at each start, for tests of its own that were linked into it."""


class ConsulAgent(ServerProcess):
    """One agent with a folder of its own, a server or (`joins`) a client of one. It dies with the process that started
    it. `keeps`: it has its registrations and keys again after it was killed; else it comes back empty.

    `management_token`: then it asks everybody for one, and who has this may do everything. `authority`: of the
    certificates with which it speaks TLS, of whom it wants one of its clients as well.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "consul-0",
        *,
        joins: "ConsulAgent | None" = None,
        keeps: bool = False,
        management_token: str = "",
        authority: Authority | None = None,
    ) -> None:
        super().__init__(name)
        self.folder = folder / name
        self.folder.mkdir()
        self.management_token = management_token
        self.authority = authority
        self.http_port, self.dns_port, self.server_port, self.lan_port, self.wan_port = free_ports(5)
        self._server = joins is None
        self._memory = self._server and not keeps
        self._accessors: dict[str, str] = {}
        (self.folder / "agent.json").write_text(json.dumps(self._definition(joins)))

    def _definition(self, joins: "ConsulAgent | None") -> dict[str, Any]:
        ports = {"dns": self.dns_port, "server": self.server_port, "serf_lan": self.lan_port, "grpc": -1}
        ports |= {"serf_wan": self.wan_port if self._server else -1}
        ports |= {"https": self.http_port, "http": -1} if self.authority else {"http": self.http_port}
        found: dict[str, Any] = {
            "node_name": self.name,
            "bind_addr": LOOPBACK,
            "client_addr": LOOPBACK,
            "data_dir": str(self.folder / "data"),
            "ports": ports,
            "server": self._server,
            "performance": {"raft_multiplier": 1},
            "disable_update_check": True,
            "log_level": "warn",
            # As newer ones by themselves: an answer over UDP is as long as it can, and says when it was cut off.
            "dns_config": {"enable_truncate": True, "udp_answer_limit": 1000},
        }
        if joins is not None:
            found |= {"retry_join": [f"{LOOPBACK}:{joins.lan_port}"], "retry_interval": "250ms"}
        elif not self._memory:
            found["bootstrap_expect"] = 1
        if self.management_token:
            tokens = {"master": self.management_token, "agent": self.management_token}
            found["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}
        if self.authority:
            own = self.authority.made(f"consul-{self.name}", "server", [LOOPBACK])
            trusted = self.folder / "trusted.pem"
            trusted.write_text(self.authority.file.read_text().partition("-----BEGIN PRIVATE")[0])
            found |= {"ca_file": str(trusted), "cert_file": str(own), "key_file": str(own)}
            found["verify_incoming_https"] = True
        return found

    @property
    def address(self) -> str:
        """HOST:PORT of its HTTP API."""
        return f"{LOOPBACK}:{self.http_port}"

    def start(self) -> None:
        """Begin; `ready` says when it has begun."""
        command = [str(find_consul()), "agent"]
        command += [*(["-dev"] if self._memory else []), f"-config-file={self.folder / 'agent.json'}"]
        self.begin(command, self.folder / "log")

    def ready(self) -> None:
        """Once it has a leader, and itself in the catalog. Blocks; fails with what it said."""
        self._await_ready()
        with contextlib.suppress(OSError):
            MADE_BY_ITSELF.rmdir()

    def _await_ready(self) -> None:
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self._process is not None, f"{self.name} does not run"
            try:
                leader = self.ask("GET", "/v1/status/leader")
                found = self.ask("GET", f"/v1/health/node/{self.name}") if leader else []
            except (OSError, http.client.HTTPException, ValueError):
                found = []
            if any(one["CheckID"] == "serfHealth" for one in found or ()):
                return
            if self._process.poll() is not None or time.monotonic() > limit:
                raise AssertionError(f"Consul does not become ready: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def restart(self) -> None:
        """Killed if it runs, started, and ready."""
        self.kill()
        self.start()
        self.ready()

    def forget(self) -> None:
        """Killed, and started again without anything of what it had."""
        self.kill()
        shutil.rmtree(self.folder / "data")
        self.restart()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """With the right to everything; what is JSON of the answer. Blocks."""
        headers = {"X-Consul-Token": self.management_token} if self.management_token else {}
        connection = self._connection()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 400:
                raise OSError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
            return json.loads(text) if text else None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.authority is None:
            return http.client.HTTPConnection(LOOPBACK, self.http_port, timeout=5)
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.load_cert_chain(self.authority.made(f"asks-{self.name}", "client"))
        return http.client.HTTPSConnection(LOOPBACK, self.http_port, timeout=5, context=context)

    def token(self, rules: str) -> str:
        """A new one, with the right to what these rules of Consul's language say."""
        number = len(self.ask("GET", "/v1/acl/policies"))
        policy = self.ask("PUT", "/v1/acl/policy", {"Name": f"policy-{number}", "Rules": rules})
        made = self.ask("PUT", "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]})
        self._accessors[made["SecretID"]] = made["AccessorID"]
        return str(made["SecretID"])

    def revoke(self, token: str) -> None:
        """It is worth nothing from now on."""
        self.ask("DELETE", f"/v1/acl/token/{self._accessors[token]}")


@contextlib.contextmanager
def consul_agent(*, keeps: bool = False, management_token: str = "", tls: bool = False) -> Iterator[ConsulAgent]:
    """A server, ready; nothing is left of it."""
    with consul_agents(0, keeps=keeps, management_token=management_token, tls=tls) as [agent]:
        yield agent


@contextlib.contextmanager
def consul_agents(
    clients: int, *, keeps: bool = False, management_token: str = "", tls: bool = False
) -> Iterator[list[ConsulAgent]]:
    """A server and some clients of it, all ready."""
    folder = Path(tempfile.mkdtemp(prefix="coldchain-consul-"))
    agents: list[ConsulAgent] = []
    try:
        authority = Authority(folder) if tls else None
        server = ConsulAgent(folder, keeps=keeps, management_token=management_token, authority=authority)
        agents.append(server)
        agents += [ConsulAgent(folder, f"consul-{one}", joins=server) for one in range(1, clients + 1)]
        for one in agents:
            one.start()
        for one in agents:
            one.ready()
        yield agents
    finally:
        for one in agents:
            one.kill()
        shutil.rmtree(folder)
