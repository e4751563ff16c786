"""The operations of who calls through the gateways, and of his keys."""

from coldchain.documents.openapi.operation import JSON, Answer, Body, Link, Operation, found

_NAMED = ("showConsumer", "putConsumer", "deleteConsumer", "addConsumerKey")
_LISTED = tuple(Link(name, {"consumer": "$response.body#/consumers/0/name"}) for name in _NAMED)
_LINKS = tuple(Link(name, {"consumer": "$response.body#/name"}) for name in _NAMED)
_CONSUMER = Answer("What is known of him.", {JSON: "ConsumerAnswer"}, links=_LINKS)
_KEY = Answer(
    "The key itself is in it, this once.",
    {JSON: "NewConsumerKey"},
    links=(Link("revokeConsumerKey", {"consumer": "$request.path.consumer", "key": "$response.body#/id"}),),
)

CONSUMERS: tuple[Operation, ...] = (
    Operation(
        "listConsumers",
        "GET",
        "/v1/consumers",
        "List who calls through the gateways",
        found("Consumers", "Never their keys themselves.", *_LISTED),
    ),
    Operation(
        "showConsumer",
        "GET",
        "/v1/consumers/{consumer}",
        "Show a consumer",
        {200: _CONSUMER},
        fails=(404,),
    ),
    Operation(
        "putConsumer",
        "PUT",
        "/v1/consumers/{consumer}",
        "Set a consumer",
        {200: _CONSUMER, 201: _CONSUMER._replace(says="He is new.")},
        body=Body(("ConsumerRequest",), required=False),
        fails=(400, 413, 422),
        more="Keys that he has stay.",
    ),
    Operation(
        "deleteConsumer",
        "DELETE",
        "/v1/consumers/{consumer}",
        "Delete a consumer with all his keys",
        {204: Answer("Nobody knows him from now on.")},
        fails=(404,),
    ),
    Operation(
        "addConsumerKey",
        "POST",
        "/v1/consumers/{consumer}/keys",
        "Give a consumer one more key",
        {201: _KEY},
        body=Body(("ConsumerKeyRequest",), required=False),
        fails=(400, 404, 409, 413, 422),
    ),
    Operation(
        "revokeConsumerKey",
        "DELETE",
        "/v1/consumers/{consumer}/keys/{key}",
        "Revoke a key of a consumer",
        {204: Answer("It is nobody's from now on.")},
        fails=(404,),
    ),
    Operation(
        "listKeySets",
        "GET",
        "/v1/key-sets",
        "List the public keys by which tokens of consumers are signed",
        found("KeySets", "One for each address that a route names."),
    ),
)
