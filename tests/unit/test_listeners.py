"""What listens beyond loopback: refused, or only for who is known."""

import asyncio
import json
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import typer
from structlog.testing import capture_logs

from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.cli.application import application
from coldchain.control.callers import Callers
from coldchain.control.clock import SystemClock
from coldchain.control.state import State
from coldchain.decisions.address import is_loopback
from coldchain.main import command
from coldchain.main.credentials import read_credentials
from coldchain.main.going_down import ask_to_go_down
from coldchain.main.listeners import Known, admit_callers, check_listeners, tls_context
from coldchain.main.settings import PlatformSettings
from coldchain.model.errors import InvalidDocument, Rejected
from coldchain.registry.server.embedded import EmbeddedRegistry, local_node
from coldchain.store.memory import MemoryStore
from coldchain.testing.certificates import Authority
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.ports import free_port
from coldchain.testing.served_platform import ServedPlatform, served_platform


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "192.0.2.1", "localhost.example", "")],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, None),
        ({"dns": "0.0.0.0:53"}, "--dns-open"),
        ({"dns": "0.0.0.0:53", "dns_open": True}, None),
        ({"dns": "0.0.0.0:53", "registry": ("consul://192.0.2.1:8500",)}, None),
        ({"gateway_status": "192.0.2.1:8081"}, "--gateway-status-open"),
        ({"gateway_status": "192.0.2.1:8081", "gateway_status_open": True}, None),
        ({"api_key": Path("key.pem")}, "--api-certificate"),
        ({"api_client_authority": Path("authority.pem")}, "--api-certificate"),
        ({"api_client_role": "owner"}, "no group"),
        ({"registry": ("0.0.0.0:8500",)}, None),
    ],
)
def test_what_cannot_ask_listens_on_loopback(given: dict[str, Any], words: str | None) -> None:
    settings = PlatformSettings(**given)
    if words is None:
        check_listeners(settings)
    else:
        with pytest.raises(InvalidDocument, match=words):
            check_listeners(settings)


def test_the_password_comes_from_a_file_or_a_variable_that_no_child_inherits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text("file:password\n")
    monkeypatch.setenv(command.CREDENTIALS, "variable:password")
    option = (command.CREDENTIALS, "--http-credentials-file")
    assert read_credentials(None, *option) == "variable:password"
    assert command.CREDENTIALS not in os.environ
    assert read_credentials(None, *option) is None
    assert read_credentials(tmp_path / "credentials", *option) == "file:password"
    with pytest.raises(typer.BadParameter, match="cannot be read"):
        read_credentials(tmp_path / "none", *option)
    options = {option for one in typer.main.get_group(application).commands["up"].params for option in one.opts}
    assert "--http-credentials" not in options


@pytest.mark.parametrize(
    ("given", "host"),
    [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("localhost:80", "localhost"), ("192.0.2.1:80", "192.0.2.1")]
    + [(given, None) for given in ("ops.example.com:80", "192.0.2.1", ":80", "127.0.0.1:0")],
)
def test_where_the_api_can_listen(given: str, host: str | None) -> None:
    if host is None:
        with pytest.raises(typer.BadParameter):
            command._address(given)
    else:
        assert command._address(given)["api_host"] == host


@pytest.fixture
async def callers() -> Callers:
    state = State(MemoryStore())
    await state.load()
    return Callers(state, SystemClock())


async def test_beyond_loopback_only_when_an_admin_is_known(callers: Callers) -> None:
    outside = PlatformSettings(api_host="192.0.2.1")
    await admit_callers(PlatformSettings(), callers)
    with pytest.raises(Rejected, match="no admin is known"):
        await admit_callers(outside, callers)
    await callers.create("ops", "admin", "/", None, "test")
    with capture_logs() as logs:
        await admit_callers(outside, callers)
    assert "PLAIN HTTP" in logs[0]["event"]
    await callers.revoke("ops", keep_admin=False)
    with pytest.raises(Rejected):
        await admit_callers(outside, callers)
    await admit_callers(PlatformSettings(api_host="192.0.2.1", http_credentials="name:password"), callers)
    assert callers.credentials is not None
    assert "password" not in repr(PlatformSettings(http_credentials="name:password"))


async def test_where_others_reach_the_api_everybody_is_asked_whatever_he_calls_it() -> None:
    async with served_platform() as platform:
        server = ApiServer(platform.controller, "0.0.0.0", 0)
        await server.start()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
                async with session.get("/ping") as answer:
                    assert answer.status == 401
                _token, text = await platform.controller.callers.create("ops", "admin", "/", None, "test")
                known = {"Authorization": f"Bearer {text}"}
                async with session.get("/ping", headers=known | {"Host": "ops.example.com"}) as answer:
                    assert answer.status == 200
                async with session.delete("/v1/tokens/ops", headers=known) as answer:
                    assert answer.status == 409
        finally:
            await server.stop()


async def test_the_registry_beyond_loopback_needs_a_token(callers: Callers) -> None:
    clock = SystemClock()
    registry = EmbeddedRegistry(
        MemoryStore(),
        FakeProber(clock),
        clock,
        local_node("here", "0" * 32, "127.0.0.1"),
        ("0.0.0.0", 0),
        ("127.0.0.1", 0),
    )
    registry.server.known = Known("own", callers).caller
    texts = {"nobody": "", "stranger": "x", "own": "own"}
    for name, role, group in (("admin", "admin", "/"), ("reader", "viewer", "/"), ("owner", "owner", "/shop")):
        _token, texts[name] = await callers.create(name, role, group, None, "test")  # type: ignore[arg-type]
    await registry.start()
    seen: dict[str, tuple[int, int, int]] = {}
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{registry.server.port}") as session:
            for name, text in texts.items():
                headers = {"X-Consul-Token": text} if text else {}
                async with session.get("/v1/catalog/services", headers=headers) as read:
                    pass
                async with session.put("/v1/kv/x", data=b"1", headers=headers) as written:
                    pass
                async with session.get("/nothing", headers={"Authorization": f"Bearer {text}"}) as unknown:
                    pass
                seen[name] = (read.status, written.status, unknown.status)
    finally:
        await registry.stop()
    assert seen == {
        "nobody": (403, 403, 403),
        "stranger": (403, 403, 403),
        "own": (200, 200, 404),
        "admin": (200, 200, 404),
        "reader": (200, 403, 404),
        "owner": (403, 403, 403),
    }


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


async def encrypted(platform: ServedPlatform, authority: Authority) -> ApiServer:
    """The platform's API over TLS, with certificates of callers."""
    certificate = authority.made("server", "server")
    settings = PlatformSettings(api_certificate=certificate, api_client_authority=authority.file)
    tls = await asyncio.to_thread(tls_context, settings)
    server = ApiServer(platform.controller, "127.0.0.1", 0, ApiSettings(tls=tls, certificate_role="operator"))
    await server.start()
    return server


async def test_https_with_tokens_certificates_and_pages(authority: Authority) -> None:
    trusting = ssl.create_default_context(cafile=str(authority.file))
    showing = ssl.create_default_context(cafile=str(authority.file))
    showing.load_cert_chain(authority.made("anna", "client"))
    async with served_platform() as platform:
        server = await encrypted(platform, authority)
        url = f"https://localhost:{server.port}"
        try:
            async with aiohttp.ClientSession(url) as session:
                async with session.get("/v1/caller", ssl=trusting) as answer:
                    assert answer.status == 401
                async with session.get("/v1/caller", ssl=showing) as answer:
                    assert await answer.json() == {"name": "anna", "role": "operator", "group": "/"}
                async with session.post("/v1/brake/release", ssl=showing, headers={"Origin": url}) as answer:
                    assert answer.status == 409
                other = {"Origin": url.replace("https", "http")}
                async with session.post("/v1/brake/release", ssl=showing, headers=other) as answer:
                    assert answer.status == 403
        finally:
            await server.stop()


async def test_a_certificate_for_servers_or_of_another_authority_is_nobodys(
    authority: Authority, tmp_path: Path
) -> None:
    others = Authority(tmp_path)
    async with served_platform() as platform:
        server = await encrypted(platform, authority)
        try:
            for certificate in (
                authority.made("machine", "server"),
                others.made("anna", "client"),
            ):
                showing = ssl.create_default_context(cafile=str(authority.file))
                showing.load_cert_chain(certificate)
                async with aiohttp.ClientSession() as session:
                    with pytest.raises(aiohttp.ClientError):
                        async with session.get(f"https://localhost:{server.port}/ping", ssl=showing):
                            pass
        finally:
            await server.stop()


@pytest.mark.parametrize("name", ["local", "two words"])
async def test_a_certificate_with_a_name_that_no_caller_can_have_is_nobodys(authority: Authority, name: str) -> None:
    showing = ssl.create_default_context(cafile=str(authority.file))
    showing.load_cert_chain(authority.made(name, "client"))
    async with served_platform() as platform:
        server = await encrypted(platform, authority)
        url = f"https://localhost:{server.port}/ping"
        try:
            async with aiohttp.ClientSession() as session, session.get(url, ssl=showing) as answer:
                assert answer.status == 401
        finally:
            await server.stop()


def test_files_that_are_no_certificates_are_told(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "nothing.pem").write_text("nothing")
    with pytest.raises(InvalidDocument, match="--api-certificate: cannot be used"):
        tls_context(PlatformSettings(api_certificate=tmp_path / "none.pem"))
    certificate = authority.made("server", "server")
    with pytest.raises(InvalidDocument, match="--api-client-authority: cannot be used"):
        tls_context(PlatformSettings(api_certificate=certificate, api_client_authority=tmp_path / "nothing.pem"))
    assert tls_context(PlatformSettings()) is None


async def test_down_is_asked_for_by_the_socket_and_never_without_a_token_elsewhere(tmp_path: Path) -> None:
    assert not await asyncio.to_thread(ask_to_go_down, tmp_path, "127.0.0.1", free_port())
    foreign = await asyncio.start_server(_knows_nothing, "127.0.0.1", 0)
    async with foreign:
        port = foreign.sockets[0].getsockname()[1]
        assert not await asyncio.to_thread(ask_to_go_down, tmp_path, "127.0.0.1", port)
    asked = asyncio.Event()
    with tempfile.TemporaryDirectory() as short:
        await _down_is_asked_for(Path(short), tmp_path / "elsewhere", asked)


async def test_who_asks_for_down_is_told_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("coldchain.main.going_down.WORDLESS_SECONDS", 0.0)
    said = {"apps": [{"id": "/shop", "explain": "the registry does not answer"}, {"id": "/idle", "explain": ""}]}
    answers = {"POST /v1/down": (202, b""), "GET /v1/status": (200, json.dumps(said).encode())}
    told = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        if request.startswith("GET /ping"):
            told.set()  # it goes on to look, having told
        status, body = answers.get(" ".join(request.split(" ", 2)[:2]), (200, b"pong"))
        writer.write(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        asking = asyncio.create_task(asyncio.to_thread(ask_to_go_down, tmp_path, "127.0.0.1", port))
        await told.wait()
    assert await asking
    assert capsys.readouterr().err == "coldchain: waiting for /shop: the registry does not answer\n"


async def _knows_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Another program at the port of the API, as etcd answers there."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def _down_is_asked_for(folder: Path, elsewhere: Path, asked: asyncio.Event) -> None:
    settings = ApiSettings(socket=folder / "api.socket", down=asked.set)
    async with served_platform(settings) as platform:
        await platform.controller.callers.create("ops", "admin", "/", None, "test")
        with pytest.raises(Rejected, match="asks who you are"):
            await asyncio.to_thread(ask_to_go_down, elsewhere, "127.0.0.1", platform.port)
        assert not asked.is_set()
        asking = asyncio.create_task(asyncio.to_thread(ask_to_go_down, folder, "127.0.0.1", platform.port))
        await asked.wait()
        await platform.server.stop()
        assert await asking
