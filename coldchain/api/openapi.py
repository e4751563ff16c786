"""openapi: what the API is, for programs (`/openapi.json`) and for readers (`/docs`)."""

from functools import cache

import msgspec
from aiohttp import web

from coldchain.api.exchange import HEADERS, text
from coldchain.documents.openapi.document import document
from coldchain.documents.openapi.page import page


async def show_document(request: web.Request) -> web.Response:
    return web.Response(body=_encoded(), content_type="application/json", charset="utf-8", headers=HEADERS)


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


async def show_page(request: web.Request) -> web.Response:
    """Without scripts, and nothing of it from elsewhere."""
    answer = text(_rendered(), "text/html")
    answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return answer


@cache
def _rendered() -> str:
    return page(document())
