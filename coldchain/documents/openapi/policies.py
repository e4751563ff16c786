"""The operations of policy."""

from coldchain.documents.openapi.operation import Body, Operation, found

POLICIES: tuple[Operation, ...] = (
    Operation("showPolicy", "GET", "/v1/policy", "Show who may talk to whom", found("PolicyAnswer", "All rules.")),
    Operation(
        "putPolicy",
        "PUT",
        "/v1/policy",
        "Replace the policy",
        found("PolicyAnswer", "As it is now; machines carry it out within a second."),
        body=Body(schemas=("PolicyRequest",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "testPolicy",
        "POST",
        "/v1/policy/test",
        "Ask which rule decides a connection",
        found("DecisionsAnswer", "Nothing is sent: it is decided as the machines do it."),
        body=Body(schemas=("PolicyQuestion",)),
        fails=(400, 413, 422),
    ),
)
