"""The operations of gray rollouts."""

from coldchain.documents.openapi.operation import Body, Link, Operation, found

_APP = tuple(
    Link(name, {"app_id": "$response.body#/gray/0/app"})
    for name in ("showGray", "changeGray", "pauseGray", "resumeGray", "promoteGray", "abortGray")
)


def _verb(verb: str, says: str, then: str) -> Operation:
    return Operation(
        f"{verb}Gray", "POST", f"/v1/gray/{{app_id}}/{verb}", says, found("GrayStatus", then), fails=(404, 409)
    )


GRAYS: tuple[Operation, ...] = (
    Operation("listGray", "GET", "/v1/gray", "List gray rollouts", found("GrayRollouts", "All that run.", *_APP)),
    Operation(
        "showGray",
        "GET",
        "/v1/gray/{app_id}",
        "Show a gray rollout",
        found("GrayStatus", "How its requests are shared out, and what the gateways see of both versions."),
        fails=(404,),
    ),
    Operation(
        "changeGray",
        "PATCH",
        "/v1/gray/{app_id}",
        "Change the share or the rules",
        found("GrayStatus", "With another share it is held until it is resumed."),
        body=Body(schemas=("GrayChange",)),
        fails=(400, 404, 409, 413, 422),
    ),
    _verb("pause", "Hold a gray rollout", "Its share stays as it is."),
    _verb("resume", "Let a gray rollout go on", "It goes on with the next step."),
    _verb("promote", "Send all requests to the new version", "The old one leaves once every gateway does so."),
    _verb("abort", "Send all requests to the old version", "The new one leaves once every gateway does so."),
)
