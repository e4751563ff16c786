"""The known classes of request smuggling against the real gateway, byte by byte: nothing that is hidden in a request
reaches an app, and what reaches it has one reading only."""

import asyncio
import re

import pytest

from coldchain.model.app import RouteFilters
from coldchain.model.firewall import Firewall
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.smuggling.application import Arrived, StrictApplication, read_head, strict_application
from coldchain.testing.smuggling.requests import vectors
from coldchain.testing.smuggling.vector import REFUSED, Vector

AT_ONCE = 32
PATIENCE_SECONDS = 60.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST = b"GET /asked/PATH-last HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"


async def send(lab: GatewayLab, vector: Vector, number: int, turn: asyncio.Semaphore) -> bytes:
    """All that the gateway answers up to the end of the connection, which a last request or our own end asks for."""
    async with turn:
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        try:
            writer.write((vector.sent + (b"" if vector.ends else LAST)).replace(b"PATH", str(number).encode()))
            if vector.ends:
                writer.write_eof()
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await reader.read()
        except ConnectionError:  # closed with something unread on its way
            return b""
        finally:
            writer.transport.abort()


def outcome(app: StrictApplication, number: int) -> list[bytes]:
    """The bodies of what came of that vector."""
    paths = (f"/asked/{number}", f"/asked/x/../{number}")
    return [one.body for path in paths for one in app.requests.get(path, ())]


@pytest.mark.parametrize("firewall", [None, Firewall(mode="detect")], ids=["plain", "firewall"])
async def test_what_is_hidden_in_a_request_reaches_no_app(firewall: Firewall | None) -> None:
    sent = vectors()
    async with running_gateway(worker_processes=1) as lab, strict_application() as app:
        rule = RouteRule(path="/asked", service="shop", filters=RouteFilters(firewall=firewall))
        await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"shop.test": (rule,)})
        turn = asyncio.Semaphore(AT_ONCE)
        answers = await asyncio.gather(*(send(lab, vector, number, turn) for number, vector in enumerate(sent)))
        await lab.in_flight({})
        errors = lab.settings.error_log_file.read_text()
    unexpected = {}
    for number, vector in enumerate(sent):
        found: list[bytes | None] = [*outcome(app, number)] or [REFUSED]
        served = answers[number].removeprefix(CONTINUE).startswith(b"HTTP/1.1 200")
        if len(found) > 1 or found[0] not in vector.bodies or served != (found[0] is not REFUSED):
            unexpected[vector.name] = (found, answers[number][:40])
    assert unexpected == {}
    assert app.wrong == []
    arrived = [(target, one) for target, all_of_it in app.requests.items() for one in all_of_it]
    assert [target for target, _ in arrived if not re.fullmatch(r"/asked/\d+(-last)?", target)] == []
    assert [one for target, one in arrived if target.endswith("-last") and (one.method, one.body) != ("GET", b"")] == []
    assert {dict(one.headers)[b"x-forwarded-for"] for _, one in arrived} == {b"127.0.0.1"}
    assert {dict(one.headers)[b"host"] for _, one in arrived} == {b"shop.test"}
    assert len(sent) > 850
    assert re.findall(r"\[(?:alert|crit|emerg)\].*", errors) == []


HEAD = b"POST /a HTTP/1.1\r\nHost: shop.test\r\n"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"Content-Length: 5\r\nContent-Length: 5",
        HEAD + b"Content-Length: +5",
        HEAD + b"Content-Length: 05",
        HEAD + b"Transfer-Encoding: chunked",
        HEAD + b"Transfer-Encoding : chunked",
        HEAD + b"Transfer-En-coding: chunked",
        HEAD + b"X: a\rTransfer-Encoding: chunked",
        HEAD + b"X: a\nb: c",
        HEAD + b" folded: yes",
        HEAD + b"X: a\0",
        HEAD + b"Host: other.test",
        HEAD + b"Content-Leng-th: 5",
        HEAD.replace(b" /a", b"  /a") + b"X: a",
        HEAD.replace(b"1.1", b"1.0") + b"X: a",
        HEAD.replace(b"/a", b"a") + b"X: a",
    ],
)
def test_the_application_tells_what_another_could_read_differently(head: bytes) -> None:
    assert read_head(head) is None


def test_the_application_takes_what_has_one_reading() -> None:
    headers = ((b"host", b"shop.test"), (b"content-length", b"5"))
    assert read_head(HEAD + b"Content-Length: 5") == Arrived("POST", "/a", headers, b"")
