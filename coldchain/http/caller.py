"""caller: sends requests to services over kept connections, each once."""

import asyncio
from typing import Self

import aiohttp
from yarl import URL

from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.http_call import HttpAnswer, HttpCall
from coldchain.model.service_call import InDoubt

IDLE_SECONDS = 3.0
"""Connections that carry nothing are closed before the far side does it: a request on its way to a closing one would
be in doubt. nginx and most servers keep them for five seconds or longer."""
CONNECT_SECONDS = 1.0


class AiohttpCaller:
    """Implements ports.service_caller.HttpCaller. Redirections are answers, and there are no cookies."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, call: HttpCall) -> HttpAnswer:
        headers = call.headers | ({"Host": call.host} if call.host else {})
        try:
            async with (
                asyncio.timeout(call.timeout_seconds),
                self._opened().request(
                    call.method, URL(call.url, encoded=True), headers=headers, data=call.body, allow_redirects=False
                ) as answer,
            ):
                body = await _read(call, answer)
                return HttpAnswer(status=answer.status, headers=dict(answer.headers), body=body)
        except aiohttp.ClientConnectorError as error:
            why = error.__cause__ or error
            raise Unavailable(f"{call}: cannot be reached: {why}", todo="Look whether it runs") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise Unavailable(f"{call}: no connection in {CONNECT_SECONDS:g} s", todo="Look whether it runs") from error
        except TimeoutError as error:
            raise InDoubt(f"{call}: no answer in {call.timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = str(error) or type(error).__name__
            raise InDoubt(f"{call}: the connection ended without a whole answer: {words}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # As many as there are calls: who may have how many open is decided before a call gets here.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                skip_auto_headers=("User-Agent",),
            )
            # Else it sends GET, PUT and DELETE again when the connection ends, whether they ran or not.
            self._session._retry_connection = False
        return self._session


async def _read(call: HttpCall, answer: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > call.answer_bytes_max:
            answer.close()
            raise Rejected(f"{call}: the answer is larger than {call.answer_bytes_max} bytes")
        pieces.append(piece)
    return b"".join(pieces)
