"""TLS at the real nginx: who is shown which certificate, changes while it serves, HTTP/2, and what is no TLS."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from coldchain.documents.certificate_file import read_certificate
from coldchain.model.app import Redirect, RouteFilters
from coldchain.model.gateway_resource import Certificate
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.testing.certificates import Authority
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.ports import free_ports
from coldchain.testing.raw_application import RawApplication, answers, raw_application


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def lab() -> AsyncIterator[GatewayLab]:
    (port,) = free_ports(1)
    async with running_gateway(worker_processes=1, tls_listen=(f"127.0.0.1:{port}",)) as lab:
        yield lab


@pytest.fixture
async def app(lab: GatewayLab) -> AsyncIterator[RawApplication]:
    async with raw_application(answers) as application:
        await lab.route(endpoint("a", application.port))
        yield application


def certificate(authority: Authority, name: str, *domains: str, default: bool = False) -> Certificate:
    text = authority.made_for(name, *domains).read_text()
    found = read_certificate(text, x509.load_pem_x509_certificate(text.encode()).not_valid_before_utc.timestamp())
    return Certificate(name=name, domains=found.domains, chain=found.chain, key=found.key, default=default)


def fingerprint(one: Certificate) -> bytes:
    return x509.load_pem_x509_certificate(one.chain.encode()).fingerprint(hashes.SHA256())


def tls_port(lab: GatewayLab) -> int:
    return int(lab.settings.tls_listen[0].rpartition(":")[2])


def connect(lab: GatewayLab, authority: Authority, domain: str | None) -> ssl.SSLSocket:
    """Whoever asks for a domain wants a certificate of our authority for it."""
    context = ssl.create_default_context(cafile=str(authority.file))
    if domain is None:
        context.check_hostname = False
    plain = socket.create_connection(("127.0.0.1", tls_port(lab)), timeout=5)
    try:
        return context.wrap_socket(plain, server_hostname=domain)
    except BaseException:
        plain.close()
        raise


async def shown(lab: GatewayLab, authority: Authority, domain: str | None) -> bytes | None:
    """The fingerprint of what is shown; None where the gateway ends the handshake."""

    def ask() -> bytes | None:
        try:
            with connect(lab, authority, domain) as connection:
                found = connection.getpeercert(binary_form=True)
        except ssl.SSLError as error:
            if error.reason and "ALERT" in error.reason:
                return None
            raise
        assert found is not None
        return x509.load_der_x509_certificate(found).fingerprint(hashes.SHA256())

    return await asyncio.to_thread(ask)


async def test_the_name_that_is_asked_for_chooses(lab: GatewayLab, authority: Authority) -> None:
    assert await shown(lab, authority, "shop.test") is None
    shop = certificate(authority, "shop", "shop.test", "www.shop.test")
    below = certificate(authority, "below", "*.shop.test", "*.other.test")
    await lab.know(shop, below)
    asked = {"shop.test": shop, "www.shop.test": shop, "a.shop.test": below, "b.other.test": below}
    for domain, expected in asked.items():
        assert await shown(lab, authority, domain) == fingerprint(expected), domain
    for domain in ("other.test", "a.b.shop.test", "unknown.test", None):
        assert await shown(lab, authority, domain) is None, domain
    anybody = certificate(authority, "anybody", "localhost", default=True)
    await lab.know(anybody)
    assert await shown(lab, authority, None) == fingerprint(anybody)
    assert await shown(lab, authority, "b.other.test") == fingerprint(below)


async def test_certificates_change_while_it_serves(lab: GatewayLab, app: RawApplication, authority: Authority) -> None:
    old, new = certificate(authority, "shop", "shop.test"), certificate(authority, "shop", "shop.test")
    await lab.know(old)
    request = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    open_connection = await asyncio.to_thread(connect, lab, authority, "shop.test")
    with open_connection:
        open_connection.sendall(request)
        assert (await asyncio.to_thread(open_connection.recv, 4096)).startswith(b"HTTP/1.1 200")
        await lab.know(new)
        assert await shown(lab, authority, "shop.test") == fingerprint(new) != fingerprint(old)
        open_connection.sendall(request)
        assert (await asyncio.to_thread(open_connection.recv, 4096)).startswith(b"HTTP/1.1 200")
        await lab.forget(new)
        assert await shown(lab, authority, "shop.test") is None
        open_connection.sendall(request)
        assert (await asyncio.to_thread(open_connection.recv, 4096)).startswith(b"HTTP/1.1 200")


async def test_a_certificate_that_cannot_be_used_takes_none_away(lab: GatewayLab, authority: Authority) -> None:
    good, other = certificate(authority, "good", "good.test"), certificate(authority, "other", "other.test")
    await lab.know(good, other, Certificate(name="bad", domains=("bad.test",), chain="no chain", key="no key"))
    await lab.know(Certificate(name="other", domains=("other.test",), chain=other.chain, key="no key"))
    assert await shown(lab, authority, "good.test") == fingerprint(good)
    assert await shown(lab, authority, "bad.test") is None
    assert await shown(lab, authority, "other.test") is None
    log = lab.settings.error_log_file.read_text()
    assert "certificate bad cannot be used" in log
    assert "certificate other cannot be used" in log


async def test_a_whole_rotation_forgets_what_is_not_in_it(
    lab: GatewayLab, app: RawApplication, authority: Authority
) -> None:
    await lab.know(certificate(authority, "shop", "shop.test"))
    assert await shown(lab, authority, "shop.test") is not None
    await lab.route(endpoint("a", app.port))
    assert await shown(lab, authority, "shop.test") is None


async def curl(lab: GatewayLab, authority: Authority, *options: str) -> tuple[str, str]:
    """The version of HTTP that was spoken with the status, and the body."""
    command = ["curl", "-sS", "--cacert", str(authority.file), "-w", "\n%{http_version} %{http_code}"]
    command += ["--resolve", f"shop.test:{tls_port(lab)}:127.0.0.1", *options]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=True)
    body, _, told = done.stdout.rpartition("\n")
    return told, body


async def test_consumers_speak_http_2_and_apps_are_told_of_tls(
    lab: GatewayLab, app: RawApplication, authority: Authority
) -> None:
    await lab.know(certificate(authority, "shop", "shop.test"))
    url = f"https://shop.test:{tls_port(lab)}/cart?x=1"
    for option, version in (("--http2", "2"), ("--http1.1", "1.1")):
        told, _ = await curl(lab, authority, option, "-d", "a body", url)
        assert told == f"{version} 200"
    for request in app.requests:
        assert (request.method, request.target, request.body) == ("POST", "/cart?x=1", b"a body")
        assert request.headers["x-forwarded-proto"] == "https"
        assert request.headers["host"] == f"shop.test:{tls_port(lab)}"
        assert request.headers["x-forwarded-host"] == f"shop.test:{tls_port(lab)}"


async def test_consumers_without_tls_are_sent_to_it(lab: GatewayLab, app: RawApplication, authority: Authority) -> None:
    filters = RouteFilters(redirect=Redirect(scheme="https", status=308), body_bytes_max=10)
    services = {"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}
    await lab.push(services, {"shop.test": (RouteRule(path="/", service="shop", filters=filters),)})
    await lab.know(certificate(authority, "shop", "shop.test"))
    sent = await lab.ask(path="/cart?x=1", headers={"Host": "shop.test"}, allow_redirects=False)
    assert (sent.status, sent.headers["Location"]) == (308, "https://shop.test/cart?x=1")
    url = f"https://shop.test:{tls_port(lab)}/cart"
    assert (await curl(lab, authority, url))[0] == "2 200"
    assert (await curl(lab, authority, "-d", "more than ten", url))[0] == "2 413"
    assert [request.target for request in app.requests] == ["/cart"]


async def test_a_request_without_tls_gets_a_clear_word(
    lab: GatewayLab, app: RawApplication, authority: Authority
) -> None:
    told, body = await curl(lab, authority, f"http://shop.test:{tls_port(lab)}/")
    assert told == "1.1 400"
    assert json.loads(body) == {"message": "this port speaks TLS"}
    assert not app.requests


async def test_a_new_worker_has_the_certificates_and_the_placeholder_is_shown_to_nobody(
    lab: GatewayLab, authority: Authority
) -> None:
    shop = certificate(authority, "shop", "shop.test")
    await lab.know(shop)
    before = {one.pid for one in (await lab.state()).workers}
    assert await lab.process.start_or_adopt() == "adopted"

    for pid in before:
        os.kill(pid, signal.SIGKILL)
    while before & {one.pid for one in (await lab.state()).workers}:
        await asyncio.sleep(0.02)
    assert await shown(lab, authority, "shop.test") == fingerprint(shop)
    assert lab.settings.placeholder_file.stat().st_mode & 0o777 == 0o600
