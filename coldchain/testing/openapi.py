"""Real answers beside the OpenAPI document: where they differ."""

import re
from functools import cache
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import make_mocked_request
from jsonschema_rs import Draft202012Validator
from yarl import URL

from coldchain.documents.openapi.document import document


@cache
def whole() -> dict[str, Any]:
    """The document, made once."""
    return document()


@cache
def described() -> frozenset[tuple[str, str]]:
    """Method and path of every operation."""
    return frozenset((method.upper(), path) for path, item in whole()["paths"].items() for method in item)


def template(route: web.AbstractRoute) -> tuple[str, str]:
    """Method and path of a route, as the document has them: without what may follow and means nothing."""
    assert route.resource is not None
    return route.method, re.sub(r"\{(end|below)\}", "", route.resource.canonical)


async def differences(
    application: web.Application, method: str, path: str, answer: ClientResponse, said: object
) -> list[str]:
    """What of an answer is not as the document says; none where no address was asked for. `said`: its body."""
    request = make_mocked_request(method, URL(path).raw_path, app=application)
    found = await application.router.resolve(request)
    if found.http_exception is not None:
        return []
    place = template(found.route)
    if place not in described():
        return [f"{place} is not described"]
    responses = whole()["paths"][place[1]][place[0].lower()]["responses"]
    if str(answer.status) not in responses:
        return [f"{place} answers {answer.status}"]
    declared = responses[str(answer.status)]
    if "$ref" in declared:
        declared = whole()["components"]["responses"][declared["$ref"].rpartition("/")[2]]
    told = [f"header {name} is missing" for name in declared.get("headers", ()) if name not in answer.headers]
    content = declared.get("content", {})
    if not content:
        return told + ([f"has a body: {said!r}"] if said else [])
    if answer.content_type not in content:
        return [*told, f"is {answer.content_type}, not {' or '.join(content)}"]
    return told + unfit(place, answer.status, answer.content_type, said)


def unfit(place: tuple[str, str], status: int, content_type: str, said: object) -> list[str]:
    """Why a body does not fit its schema."""
    errors = _validator(place, status, content_type).iter_errors(said)
    return [f"/{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in errors]


@cache
def _validator(place: tuple[str, str], status: int, content_type: str) -> Draft202012Validator:
    responses = whole()["paths"][place[1]][place[0].lower()]["responses"]
    declared = responses[str(status)]
    if "$ref" in declared:
        declared = whole()["components"]["responses"][declared["$ref"].rpartition("/")[2]]
    schema = declared["content"][content_type]["schema"]
    return Draft202012Validator({"components": {"schemas": whole()["components"]["schemas"]}, **schema})
