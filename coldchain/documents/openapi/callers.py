"""The operations of callers, their tokens and what they did."""

from coldchain.documents.openapi.operation import JSON, Answer, Body, Link, Operation, Parameter, found

_NEW = Answer(
    "The token itself is in it, this once.",
    {JSON: "NewToken"},
    links=(Link("revokeToken", {"name": "$response.body#/name"}),),
)

CALLERS: tuple[Operation, ...] = (
    Operation("showCaller", "GET", "/v1/caller", "Show who asks", found("CallerAnswer", "As the API knows him.")),
    Operation("listTokens", "GET", "/v1/tokens", "List tokens", found("Tokens", "Never themselves.")),
    Operation(
        "createToken",
        "POST",
        "/v1/tokens",
        "Create a token",
        {201: _NEW},
        body=Body(("TokenRequest",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "revokeToken",
        "DELETE",
        "/v1/tokens/{name}",
        "Revoke a token",
        {204: Answer("It is nobody's from now on.")},
        fails=(404, 409),
    ),
    Operation(
        "listAudit",
        "GET",
        "/v1/audit",
        "List who did what",
        found("Audit", "The latest first."),
        takes=(
            Parameter("app", "Only what was about this app, or this group with all below it."),
            Parameter("caller", "Only what he did."),
            Parameter(
                "count", "At most so many; 100 if not given.", {"type": "integer", "minimum": 0, "maximum": 5000}
            ),
        ),
        fails=(400,),
    ),
)
