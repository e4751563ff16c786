"""Marathon's own client comes in by its ways: a name with a password, and what it calls its token."""

from collections.abc import Iterator

import pytest
from marathon import MarathonClient
from marathon.exceptions import MarathonError, MarathonHttpError
from marathon.models import MarathonApp

from coldchain.control.credentials import Credentials
from coldchain.testing.command_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def token(server: Server, name: str, role: str, group: str = "/") -> str:
    callers = server.platform.controller.callers
    _token, text = server.do(callers.create(name, role, group, None, "test"))  # type: ignore[arg-type]
    return str(text)


def test_a_name_with_its_password(server: Server) -> None:
    server.platform.controller.callers.credentials = Credentials("name:pass")
    url = server.platform.url
    assert MarathonClient(url, username="name", password="pass").list_apps() == []
    assert MarathonClient(url, username="name", password="pass").ping() == b"pong"
    for client in (MarathonClient(url), MarathonClient(url, username="name", password="wrong")):
        with pytest.raises(MarathonHttpError) as failure:
            client.list_apps()
        assert failure.value.status_code == 401


def test_a_token_as_it_sends_one_and_as_a_password(server: Server) -> None:
    text, url = token(server, "ops", "admin"), server.platform.url
    for client in (MarathonClient(url, auth_token=text), MarathonClient(url, username="ops", password=text)):
        assert client.list_apps() == []
    with pytest.raises(MarathonHttpError) as failure:
        MarathonClient(url, auth_token="cct_0_wrong").list_apps()
    assert failure.value.status_code == 401


def test_it_is_held_to_its_group(server: Server) -> None:
    token(server, "ops", "admin")
    client = MarathonClient(server.platform.url, auth_token=token(server, "shop", "owner", "/shop"))
    app = MarathonApp(cmd="sleep 1000", mem=32, cpus=0.1)
    assert client.create_app("/shop/web", app).id == "/shop/web"
    with pytest.raises(MarathonHttpError) as failure:
        client.create_app("/shop-2/web", MarathonApp(cmd="sleep 1000", mem=32, cpus=0.1))
    assert failure.value.status_code == 403
    assert set(server.platform.controller.state.apps) == {"/shop/web"}


def test_its_event_stream_shows_names_and_passwords_alone(server: Server) -> None:
    text, url = token(server, "ops", "admin"), server.platform.url
    for stranger in (MarathonClient(url), MarathonClient(url, auth_token=text)):
        with pytest.raises(MarathonError):
            next(stranger.event_stream())
    stream = MarathonClient(url, username="ops", password=text).event_stream(raw=True)
    assert "event_stream_attached" in str(next(stream))
