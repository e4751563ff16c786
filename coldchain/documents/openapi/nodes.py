"""The operations of nodes and routes."""

from coldchain.documents.openapi.operation import JSON, Answer, Body, Link, Operation, flag, found

_NODE_LINKS = (
    Link("changeNode", {"node": "$response.body#/name"}),
    Link("removeNode", {"node": "$response.body#/name"}),
)
_ROUTING = Answer(
    "How routes are spread now.",
    {JSON: "RoutingAnswer"},
    links=(Link("removePeer", {"peer": "$response.body#/peers/0/name"}),),
)

NODES: tuple[Operation, ...] = (
    Operation(
        "listNodes",
        "GET",
        "/v1/nodes",
        "List nodes",
        found(
            "NodeList",
            "The machines of the container network.",
            Link("showNode", {"node": "$response.body#/nodes/0/name"}),
        ),
    ),
    Operation(
        "showNode",
        "GET",
        "/v1/nodes/{node}",
        "Show a node",
        found("NodeAnswer", "As it is known.", *_NODE_LINKS),
        fails=(404,),
    ),
    Operation(
        "changeNode",
        "PATCH",
        "/v1/nodes/{node}",
        "Change a node",
        found("NodeAnswer", "As it is now.", *_NODE_LINKS),
        body=Body(("ChangeNode",), required=False),
        fails=(400, 404, 409, 413, 422),
    ),
    Operation(
        "removeNode",
        "DELETE",
        "/v1/nodes/{node}",
        "Remove a node",
        {204: Answer("Its routes go.")},
        takes=(
            flag("lost", "It is off or has left, also if it had containers."),
            flag("mayReturn", "It may join again by itself; of one that was removed before as well."),
        ),
        fails=(400, 404, 409),
    ),
    Operation("showRouting", "GET", "/v1/routing", "Show how routes are spread", {200: _ROUTING}),
    Operation(
        "changeRouting",
        "PATCH",
        "/v1/routing",
        "Change how routes are spread",
        {200: _ROUTING},
        body=Body(("ChangeRouting",), required=False),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "putPeer",
        "PUT",
        "/v1/routing/peers/{peer}",
        "Let nodes speak with a router",
        {200: _ROUTING, 201: _ROUTING._replace(says="It is new.")},
        body=Body(("PutRoutePeer",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "removePeer",
        "DELETE",
        "/v1/routing/peers/{peer}",
        "Speak with a router no more",
        {204: Answer("Its sessions end.")},
        fails=(404, 409),
    ),
)
