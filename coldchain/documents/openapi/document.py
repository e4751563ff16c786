"""The OpenAPI document, made of the operations and the schemas."""

import re
from http import HTTPStatus
from typing import Any

from coldchain._version import __version__
from coldchain.documents.openapi.callers import CALLERS
from coldchain.documents.openapi.consumers import CONSUMERS
from coldchain.documents.openapi.grays import GRAYS
from coldchain.documents.openapi.groups import GROUPS
from coldchain.documents.openapi.marathon import MARATHON
from coldchain.documents.openapi.networks import NETWORKS
from coldchain.documents.openapi.nodes import NODES
from coldchain.documents.openapi.operation import (
    ALWAYS,
    FAILURES,
    HEADERS,
    JSON,
    PATH_PARAMETERS,
    TAGS,
    TEXT,
    Answer,
    Body,
    Operation,
    Parameter,
)
from coldchain.documents.openapi.own import OURS
from coldchain.documents.openapi.policies import POLICIES
from coldchain.documents.openapi.schemas import Schema, ref, schemas

OPERATIONS: tuple[Operation, ...] = (
    *MARATHON,
    *GROUPS,
    *OURS,
    *CALLERS,
    *CONSUMERS,
    *NETWORKS,
    *NODES,
    *POLICIES,
    *GRAYS,
)

_DESCRIPTION = (
    "`/v2` is Marathon's, so that its users' tools go on working; `/v1` is what Marathon has not. A change is answered"
    " once it is stored, and every later answer shows it. HEAD is answered where GET is. Ids of apps contain slashes."
)


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Coldchain", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": says} for name, says in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": {_failure_name(status): _answer(answer) for status, answer in FAILURES.items()},
            "headers": dict(HEADERS),
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    fails = sorted({*operation.fails, *ALWAYS})
    responses = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    responses |= {str(status): {"$ref": f"#/components/responses/{_failure_name(status)}"} for status in fails}
    names = re.findall(r"\{(\w+)\}", operation.path)
    made: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.says,
        "tags": [operation.tag],
        "parameters": [*map(_path_parameter, names), *map(_parameter, operation.takes)],
    }
    if operation.more:
        made["description"] = operation.more
    if operation.body is not None:
        made["requestBody"] = _body(operation.body)
    return made | {"responses": responses}


def _failure_name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _path_parameter(name: str) -> dict[str, Any]:
    says, schema = PATH_PARAMETERS[name]
    return {"name": name, "in": "path", "required": True, "description": says, "schema": schema}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": False,
        "description": parameter.says,
        "schema": parameter.schema,
    }


def _body(body: Body) -> dict[str, Any]:
    if body.text is not None:
        return {"required": body.required, "content": {TEXT: {"schema": body.text}}}
    schemas = [ref(name) for name in body.schemas]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"required": body.required, "content": {JSON: {"schema": schema}}}


def _answer(answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.says}
    if answer.headers:
        made["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers}
    if answer.content:
        made["content"] = {kind: {"schema": _schema(schema)} for kind, schema in answer.content.items()}
    if answer.links:
        made["links"] = {
            link.operation: {"operationId": link.operation, "parameters": dict(link.parameters)}
            for link in answer.links
        }
    return made


def _schema(schema: str | Schema) -> Schema:
    return ref(schema) if isinstance(schema, str) else schema
