"""What the network prober makes of certificates, and of tasks that only somebody beside them can ask."""

import asyncio
import datetime
import ipaddress
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coldchain.model.errors import NotFound
from coldchain.model.health import Probe, Response
from coldchain.probes.prober import NetworkProber
from coldchain.testing.sandbox import inside

NAME = "shop.internal"


def make_certificate(folder: Path) -> Path:
    """A certificate for NAME that signs itself, in one file with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


class Server:
    """Answers over TLS; `asked_for` are the names that were asked for in handshakes."""

    def __init__(self) -> None:
        self.port = 0
        self.asked_for: list[str | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()


@asynccontextmanager
async def encrypted(certificate: Path) -> AsyncIterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = Server()
    context.sni_callback = lambda _, name, __: server.asked_for.append(name)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def question(port: int, *, server_name: str | None = None) -> Probe:
    return Probe(
        instance_id="i",
        check="health/0",
        protocol="HTTPS",
        address="127.0.0.1",
        port=port,
        timeout_seconds=5.0,
        server_name=server_name,
    )


async def answered(probe: Probe) -> tuple[str, str, Response | None]:
    prober = NetworkProber()
    result = await prober.probe(probe)
    await prober.close()
    return result.outcome, result.detail, result.response


async def test_any_certificate_will_do_where_no_name_is_given(tmp_path: Path) -> None:
    async with encrypted(make_certificate(tmp_path)) as server:
        outcome = await answered(question(server.port))
    assert outcome == ("passed", "status 200", Response(status=200, content_type="text/plain", body="ok"))


async def test_a_name_asks_for_a_certificate_that_this_machine_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    async with encrypted(certificate) as server:
        assert (await answered(question(server.port, server_name=NAME)))[:2] == (
            "failed",
            "TLS: self-signed certificate",
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert (await answered(question(server.port, server_name=NAME)))[0] == "passed"
        outcome, detail, _ = await answered(question(server.port, server_name="cart.internal"))
        assert (outcome, "cart.internal" in detail) == ("failed", True)
        assert server.asked_for == [NAME, NAME, "cart.internal"]


async def test_who_speaks_no_tls_fails() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    outcome, detail, _ = await answered(question(server.sockets[0].getsockname()[1]))
    server.close()
    assert outcome == "failed"
    assert detail.startswith("TLS: ")


# Beside the task

SERVER = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler)
print("listens", flush=True)
server.serve_forever()
"""


@asynccontextmanager
async def network_of_its_own() -> AsyncIterator[str]:
    """A server on 127.0.0.1:8080 of a network namespace; its path."""
    assert inside(), "run this through bin/test"
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", SERVER),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"listens\n"
    try:
        yield f"/proc/{process.pid}/ns/net"
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
async def test_a_task_is_asked_in_its_own_network(protocol: Literal["HTTP", "TCP"]) -> None:
    probe = Probe(
        instance_id="i", check="health/0", protocol=protocol, address="127.0.0.1", port=8080, task_id="t", beside=True
    )
    asked: list[str] = []
    async with network_of_its_own() as namespace:

        async def network_of(task_id: str) -> str | None:
            asked.append(task_id)
            return namespace

        there, here = NetworkProber(network_of=network_of), NetworkProber()
        assert (await there.probe(probe)).outcome == "passed"
        assert (await here.probe(probe)).detail == "connection refused"
        await there.close()
        await here.close()
    assert asked == ["t"]


async def test_a_task_that_does_not_run_cannot_be_asked() -> None:
    async def network_of(task_id: str) -> str | None:
        raise NotFound(f"task {task_id} does not run")

    probe = Probe(
        instance_id="i", check="health/0", protocol="TCP", address="127.0.0.1", port=8080, task_id="t", beside=True
    )
    prober = NetworkProber(network_of=network_of)
    result = await prober.probe(probe)
    await prober.close()
    assert (result.outcome, result.detail) == ("unknown", "the prober cannot ask: task t does not run")
