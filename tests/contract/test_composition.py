"""`coldchain composition` as a process of its own, between real services: two by HTTP, one of Dubbo that is not ours,
found in a real ZooKeeper."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from coldchain.testing.dubbo_peer import GROUP, INTERFACE, VERSION, DubboPeer
from coldchain.testing.ports import free_ports
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT
from coldchain.testing.zookeeper import zookeeper

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLE = Path(__file__).parents[2] / "examples" / "04-composition" / "product.yaml"
FILE = """
services:
  items: {{url: "{url}/items-app", host: items.example}}
  prices: {{url: "{url}"}}
  stock: {{interface: {interface}, version: {version}, group: {group}}}
dubbo: {{registry: "zk://{zookeeper}/dubbo"}}
limits: {{requestsMax: 8, bodyBytesMax: 1000}}
passHeaders: [X-Team]
compositions:
  - name: product
    path: /products/{{id}}
    parameters: {{id: {{place: path, type: integer}}, ms: {{type: integer, default: "0"}}}}
    steps:
      item: {{http: {{service: items, path: "/items/{{id}}", passStatuses: [404]}}, timeoutSeconds: 10}}
      price:
        http: {{service: prices, path: "/prices/{{id}}", query: {{ms: parameters.ms}}}}
        timeoutSeconds: 1.5
        optional: true
        fallback: "`0`"
      left:
        dubbo:
          service: stock
          method: add
          parameters: [{{name: one, type: int}}, {{name: two, type: int}}]
          values: {{one: steps.item.count, two: parameters.id}}
        timeoutSeconds: 5
        idempotent: true
        retries: 2
    timeoutSeconds: 20
    answer: "{{name: steps.item.name, price: steps.price, left: steps.left}}"
  - name: order
    method: POST
    path: /orders
    timeoutSeconds: 20
    steps:
      kept: {{http: {{service: items, method: POST, path: /keep, body: "{{order: body}}"}}, timeoutSeconds: 10}}
    answer: steps.kept.sent
  - {{name: sum, method: POST, path: /sums, exposes: {{service: stock, method: add, idempotent: true,
     parameters: [{{name: one, type: int}}, {{name: two, type: int}}]}}}}
  - {{name: fails, method: POST, path: /fails, exposes: {{service: stock, method: raise,
     parameters: [{{name: words, type: java.lang.String}}]}}}}
"""
SMALL = """
services: {{prices: {{url: "{url}"}}}}
compositions:
  - path: /slow/{{ms}}
    steps: {{one: {{http: {{service: prices, path: /prices/1, query: {{ms: parameters.ms}}}}, timeoutSeconds: 10}}}}
    timeoutSeconds: 20
    answer: steps.one
"""


class Shop:
    """Both services by HTTP, in this process. `seen`: the headers and the body of the requests, by path. `keeps`: an
    order is answered while this is set."""

    def __init__(self) -> None:
        self.keeps = asyncio.Event()
        self.keeps.set()
        self.seen: dict[str, tuple[dict[str, str], bytes]] = {}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen[request.path] = ({name.lower(): of for name, of in request.headers.items()}, await request.read())
        if request.path == "/items-app/items/404":
            return web.json_response({"message": "no such item"}, status=404)
        if request.path.startswith("/prices"):
            await asyncio.sleep(int(request.query.get("ms", 0)) / 1000)
            return web.json_response(2.5)
        if request.path == "/items-app/keep":
            await self.keeps.wait()
            return web.json_response({"sent": (await request.read()).decode()}, status=201)
        return web.json_response({"id": 7, "name": "kohlrabi 🥬", "count": 40, "sold_here": True})


class Copy:
    """One process."""

    def __init__(self, file: Path, *options: str) -> None:
        self.port, self.status_port = free_ports(2)
        self.file = file
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = options

    async def start(self, session: aiohttp.ClientSession) -> None:
        self._log = self.file.with_suffix(".log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *DIES_WITH_ITS_PARENT,
            *(sys.executable, "-m", "coldchain", "composition", str(self.file)),
            *(f"--listen=127.0.0.1:{self.port}", f"--status=127.0.0.1:{self.status_port}", *self._options),
            stdout=self._log,
            stderr=self._log,
        )
        async with asyncio.timeout(60):
            while await self.ready(session) != 200:
                assert self.process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def ready(self, session: aiohttp.ClientSession) -> int:
        """0: nobody listens."""
        try:
            async with session.get(f"http://127.0.0.1:{self.status_port}/.coldchain/ready") as answer:
                return answer.status
        except aiohttp.ClientConnectionError:
            return 0

    async def metrics(self, session: aiohttp.ClientSession) -> dict[str, float]:
        """Of every sample, without its labels all together."""
        found: dict[str, float] = {}
        async with session.get(f"http://127.0.0.1:{self.status_port}/metrics") as answer:
            for family in text_string_to_metric_families(await answer.text()):
                for sample in family.samples:
                    name = ",".join(
                        [sample.name, *(sample.labels[one] for one in sorted(sample.labels) if one != "le")]
                    )
                    found[name] = found.get(name, 0.0) + sample.value if "_bucket" in name else sample.value
        return found

    def log(self) -> str:
        return self.file.with_suffix(".log").read_text()

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self._log.close()


class Scene:
    """Everything. `text`: the file as it was first."""

    shop: Shop
    shop_url: str
    copy: Copy
    session: aiohttp.ClientSession
    text: str

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
        async with self.session.request(method, f"{self.copy.url}{path}", **more) as answer:
            return answer.status, await answer.json(), answer

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not await true():
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    scene = Scene()
    scene.shop = Shop()
    async with contextlib.AsyncExitStack() as closing:
        server = await closing.enter_async_context(zookeeper())
        await closing.enter_async_context(DubboPeer(f"{server.address}/dubbo"))
        runner = web.ServerRunner(web.Server(scene.shop.answer, access_log=None))
        await runner.setup()
        closing.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        scene.shop_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        scene.session = await closing.enter_async_context(aiohttp.ClientSession())
        names = {"interface": INTERFACE, "version": VERSION, "group": GROUP}
        scene.text = FILE.format(url=scene.shop_url, zookeeper=server.address, **names)
        file = tmp_path_factory.mktemp("composition") / "file.yaml"
        file.write_text(scene.text)
        scene.copy = Copy(file)
        await scene.copy.start(scene.session)
        closing.push_async_callback(scene.copy.close)
        yield scene


async def test_three_services_are_one_answer_and_what_goes_along_arrives(scene: Scene) -> None:
    headers = {"X-Request-ID": "r-7", "traceparent": "00-aa-bb-01", "X-Gray": "gray", "X-Team": "web", "Cookie": "a=b"}
    status, body, answer = await scene.ask("GET", "/products/2", headers=headers)
    assert answer.headers["X-Request-ID"] == "r-7"
    assert (status, body) == (200, {"name": "kohlrabi 🥬", "price": 2.5, "left": 42})
    for path, host in (("/items-app/items/2", "items.example"), ("/prices/2", scene.shop_url.partition("//")[2])):
        told, _ = scene.shop.seen[path]
        assert (told["host"], "cookie" in told) == (host, False)
        for name in ("X-Request-ID", "traceparent", "X-Gray", "X-Team"):
            assert told[name.lower()] == headers[name]


async def test_what_is_late_and_optional_is_left_out_and_named(scene: Scene) -> None:
    status, body, answer = await scene.ask("GET", "/products/2?ms=30000")
    missing = [{"step": "price", "reason": "timeout"}]
    assert (status, body) == (200, {"name": "kohlrabi 🥬", "price": 0, "left": 42, "missing": missing})
    assert answer.headers["X-Coldchain-Missing"] == "price"


async def test_what_a_service_does_not_know_is_not_known(scene: Scene) -> None:
    status, body, _ = await scene.ask("GET", "/products/404", headers={"X-Request-ID": "r-8"})
    assert status == 404
    assert body == {"message": "step item: items answered 404", "step": "item", "reason": "status", "requestId": "r-8"}


async def test_a_body_goes_to_a_service_once(scene: Scene) -> None:
    assert (await scene.ask("POST", "/orders", data=b'{"n": 1}'))[1] == '{"order":{"n":1}}'


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("GET", "/orders", b"", 405),
        ("GET", "/products/x", b"", 422),
        ("POST", "/orders", b"{", 400),
        ("POST", "/orders", b" " * 1001, 413),
        ("POST", "/sums", b'{"one": 1}', 422),
    ],
)
async def test_what_cannot_be_answered_is_told_with_its_id(
    scene: Scene, method: str, path: str, body: bytes, status: int
) -> None:
    got, document, _ = await scene.ask(method, path, data=body, headers={"X-Request-ID": "r-9"})
    assert (got, document["requestId"]) == (status, "r-9")


async def test_a_method_of_dubbo_is_one_of_http(scene: Scene) -> None:
    assert (await scene.ask("POST", "/sums", json={"one": 3, "two": 4}))[:2] == (200, 7)
    status, document, _ = await scene.ask("POST", "/fails", json={"words": "no more"})
    assert status == 502
    assert "no more" in document["message"]


async def test_more_requests_than_may_be_open_are_refused_at_once(scene: Scene) -> None:
    scene.shop.keeps.clear()
    asking = [asyncio.create_task(scene.ask("POST", "/orders", data=b"1")) for _ in range(20)]
    while len(refused := [one for one in asking if one.done()]) < 12:
        await asyncio.wait([one for one in asking if not one.done()], return_when=asyncio.FIRST_COMPLETED)
    for one in refused:
        status, _, answer = one.result()
        assert (status, answer.headers["Retry-After"]) == (503, "1")
    scene.shop.keeps.set()
    served = await asyncio.gather(*(one for one in asking if one not in refused))
    assert [status for status, _, _ in served] == [200] * 8


async def test_a_wrong_file_changes_nothing_and_a_right_one_what_comes_after_it(scene: Scene) -> None:
    copy = scene.copy

    async def reloads(outcome: str) -> bool:
        return (await copy.metrics(scene.session))[f"coldchain_composition_reloads_total,{outcome}"] == 1

    copy.file.write_text(scene.text.replace("path: /orders", "path: orders"))
    copy.process.send_signal(signal.SIGHUP)
    await scene.until(lambda: reloads("refused"))
    assert "/compositions/1/path: must begin with `/`" in copy.log()
    assert (await scene.ask("POST", "/orders", data=b"1"))[0] == 200

    scene.shop.keeps.clear()
    during = asyncio.create_task(scene.ask("POST", "/orders", data=b"2"))
    while "/items-app/keep" not in scene.shop.seen or scene.shop.seen["/items-app/keep"][1] != b'{"order":2}':
        await asyncio.sleep(0.01)
    copy.file.write_text(scene.text.replace("path: /orders", "path: /buy").replace("steps.kept.sent", '"`1`"'))
    copy.process.send_signal(signal.SIGHUP)
    await scene.until(lambda: reloads("taken"))
    scene.shop.keeps.set()
    assert (await during)[:2] == (200, '{"order":2}')
    assert (await scene.ask("POST", "/orders", data=b"1"))[0] == 404
    assert (await scene.ask("POST", "/buy", data=b"1"))[:2] == (200, 1)
    assert (await scene.ask("POST", "/sums", json={"one": 3, "two": 4}))[:2] == (200, 7)


async def test_requests_and_steps_are_counted(scene: Scene) -> None:
    before = await scene.copy.metrics(scene.session)
    for path in ("/products/2", "/products/404", "/products/x", "/nothing"):
        await scene.ask("GET", path)
    after = await scene.copy.metrics(scene.session)
    more = {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name)}
    for name, count in (
        ("requests_total,200,product", 1),
        ("requests_total,404,product", 1),
        ("requests_total,422,product", 1),
        ("requests_total,404,none", 1),
        ("request_seconds_count,product", 3),
        ("steps_total,product,answered,left", 1),
        ("steps_total,product,status,item", 1),
        ("step_seconds_count,product,left", 1),
    ):
        assert more[f"coldchain_composition_{name}"] == count
    assert (after["coldchain_composition_declared"], after["coldchain_composition_requests_open"]) == (4, 0)


async def test_the_example_is_served(scene: Scene) -> None:
    text = EXAMPLE.read_text().replace("http://127.0.0.1", scene.shop_url).replace("0.5", "10")
    file = scene.copy.file.with_name("product.yaml")
    file.write_text(text.replace("127.0.0.1:2181", scene.text.partition("zk://")[2].partition("/")[0]))
    copy = Copy(file)
    async with aiohttp.ClientSession() as session:
        await copy.start(session)
        try:
            async with session.get(f"{copy.url}/products/7") as answer:
                got = await answer.json()
            assert got == {"id": 7, "name": "kohlrabi 🥬", "price": 2.5, "in_stock": 7}
            async with session.post(f"{copy.url}/sums", json={"one": 3, "two": 4}) as answer:
                assert await answer.json() == 7
        finally:
            await copy.close()


async def test_one_that_is_told_to_end_serves_who_has_not_noticed_and_ends_what_is_open(scene: Scene) -> None:
    file = scene.copy.file.with_name("small.yaml")
    file.write_text(SMALL.format(url=scene.shop_url))
    copy = Copy(file, "--settle-seconds=2")
    async with aiohttp.ClientSession() as session:
        await copy.start(session)
        try:
            async with session.get(f"{copy.url}/slow/0") as answer:
                assert (answer.status, answer.headers.get("Connection")) == (200, None)
            copy.process.send_signal(signal.SIGTERM)

            async def unready() -> bool:
                return await copy.ready(session) == 503

            await scene.until(unready)
            async with session.get(f"{copy.url}/slow/2500") as answer:  # it ends when nobody listens any more
                assert (answer.status, await answer.json()) == (200, 2.5)
                assert answer.headers["Connection"] == "close"
            async with asyncio.timeout(20):
                assert await copy.process.wait() == 0
            assert await copy.ready(session) == 0
            assert "Traceback" not in copy.log() + scene.copy.log()
        finally:
            await copy.close()
