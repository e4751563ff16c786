"""A proxy such as one writes with aiohttp: round robin, and with a secret also a limit, a share, and tokens."""

import base64
import hashlib
import hmac
import itertools
import json
import random
import sys
import time

import aiohttp
import uvloop
from aiohttp import web

from coldchain.testing.peers.proxies import GRAY_PERCENT, RATE


class Checks:
    """The limit and the tokens; those that were right are remembered."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._ends: dict[str, float] = {}
        self._level, self._filled_at = float(RATE), time.monotonic()

    def refuse(self, request: web.Request) -> int | None:
        """The status of the refusal, None when the request goes on."""
        now = time.monotonic()
        self._level = min(RATE, self._level + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._level < 1:
            return 429
        self._level -= 1
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        ends = self._ends.get(token) or self._examine(token)
        return None if ends > time.time() else 401

    def _examine(self, token: str) -> float:
        text, _, signature = token.rpartition(".")
        made = base64.urlsafe_b64encode(hmac.digest(self._secret, text.encode(), hashlib.sha256)).rstrip(b"=")
        if not hmac.compare_digest(made, signature.encode()):
            return 0.0
        body = text.partition(".")[2]
        ends = float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
        self._ends[token] = ends
        return ends


def application(upstreams: list[int], secret: bytes | None) -> web.Application:
    checks = Checks(secret) if secret else None
    started, numbers = time.time(), itertools.count()
    normal = itertools.cycle(upstreams[:-1] if checks else upstreams)
    session: list[aiohttp.ClientSession] = []

    async def proxy(request: web.Request) -> web.StreamResponse:
        port = next(normal)
        headers = {"Host": request.host, "X-Forwarded-For": request.remote or "", "X-Forwarded-Proto": request.scheme}
        if checks:
            refused = checks.refuse(request)
            if refused:
                return web.Response(status=refused)
            headers["X-Request-Id"] = request.headers.get("X-Request-Id") or f"{started}-{next(numbers)}"
            if random.randrange(100) < GRAY_PERCENT:
                port = upstreams[-1]
        url = f"http://127.0.0.1:{port}{request.rel_url}"
        async with session[0].request(request.method, url, headers=headers, data=await request.read()) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    async def begin(_: web.Application) -> None:
        session.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False))

    async def end(_: web.Application) -> None:
        await session[0].close()

    made = web.Application()
    made.router.add_route("*", "/{path:.*}", proxy)
    made.on_startup.append(begin)
    made.on_cleanup.append(end)
    return made


def main() -> None:
    port, upstreams, *secret = sys.argv[1:]
    uvloop.install()
    apps = [int(one) for one in upstreams.split(",")]
    made = application(apps, secret[0].encode() if secret else None)
    web.run_app(made, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
