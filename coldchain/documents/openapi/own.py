"""The operations of `/v1`, and those that describe the API itself."""

from coldchain.documents.openapi.operation import (
    FORCE,
    JSON,
    LINES,
    OVERRIDES,
    TEXT,
    Answer,
    Body,
    Link,
    Operation,
    Parameter,
    any_of,
    begun,
    flag,
    found,
    of_app,
    of_deployment,
)
from coldchain.documents.openapi.schemas import STRING
from coldchain.model.app import YEAR_SECONDS

_NUMBER = {"type": "integer", "minimum": 0}
_DEPLOYMENT = any_of("DeploymentAnswer", "GroupDeploymentAnswer")
_CHARACTERS = _NUMBER | {"maximum": 1000}
_SECRET_LINKS = (
    Link("setSecret", {"secret": "$response.body#/secrets/0/name"}),
    Link("deleteSecret", {"secret": "$response.body#/secrets/0/name"}),
)
_SECRET = Answer(
    "What is known of it.", {JSON: "SecretAnswer"}, links=(Link("deleteSecret", {"secret": "$response.body#/name"}),)
)

OURS: tuple[Operation, ...] = (
    Operation(
        "showPlatform",
        "GET",
        "/v1/status",
        "Show how everything is",
        found(
            "PlatformStatus",
            "All apps in brief, gateways, engine, registry and brake.",
            *of_app("$response.body#/apps/0/id"),
            *of_deployment("$response.body#/apps/0/deployment/id"),
        ),
    ),
    Operation(
        "showAppStatus",
        "GET",
        "/v1/apps/{app_id}/status",
        "Show how an app is, and why",
        found(
            "AppStatus",
            "All that one screen needs; also of a deleted app while its instances leave.",
            Link("showStory", {"instance_id": "$response.body#/instances/0/id"}),
            *of_deployment("$response.body#/deployment/id"),
        ),
        fails=(404,),
    ),
    Operation(
        "showHistory",
        "GET",
        "/v1/apps/{app_id}/history",
        "Show what was done to an app",
        found("History", "Its deployments on record.", *of_deployment("$response.body#/deployments/0/id")),
        fails=(404,),
    ),
    Operation(
        "rollBack",
        "POST",
        "/v1/apps/{app_id}/rollback",
        "Go back to an earlier version",
        {200: begun("The deployment that leads back.")},
        takes=(FORCE, *OVERRIDES),
        body=Body(("Rollback",), required=False),
        fails=(400, 404, 409, 413, 422),
    ),
    Operation(
        "previewApp",
        "POST",
        "/v1/apps/{app_id}/preview",
        "Show a rollout before it starts",
        found("PreviewAnswer", "What would happen, in order; nothing is stored."),
        takes=OVERRIDES,
        body=Body(("AppAtAddress",)),
        fails=(400, 413, 422),
    ),
    Operation(
        "showBundle",
        "GET",
        "/v1/apps/{app_id}/bundle",
        "Show the last decisions on an app",
        found("Bundle", "With all that they looked at: what `coldchain replay` takes."),
        fails=(404,),
    ),
    Operation(
        "readLogs",
        "GET",
        "/v1/apps/{app_id}/logs",
        "Read what an app writes",
        {
            200: Answer(
                "Lines of its instances; as text without their ids.",
                {LINES: STRING, TEXT: STRING},
            )
        },
        takes=(
            flag("follow", "Go on as more is written; the answer then has no end."),
            Parameter("tail", "So many lines of each instance; 100 if not given.", _NUMBER | {"maximum": 100_000}),
            Parameter("sinceSeconds", "Only what was written since so long ago.", _NUMBER | {"maximum": YEAR_SECONDS}),
            flag("previous", "Of instances that have ended; not together with follow."),
            Parameter("instance", "Only of the instance whose id begins so."),
            Parameter("format", "`text`, or JSON lines.", {"enum": ["json", "text"]}),
        ),
        fails=(400, 404, 409),
    ),
    Operation(
        "runCommand",
        "GET",
        "/v1/apps/{app_id}/exec",
        "Run a program beside a task",
        {101: Answer("A WebSocket: what is written to the program, and what it writes.")},
        takes=(
            Parameter("argument", "The program, and its arguments.", {"type": "array", "items": {"type": "string"}}),
            Parameter("instance", "Beside the instance whose id begins so; else beside one that serves."),
            flag("terminal", "Give it a terminal."),
            Parameter("columns", "Of the terminal.", _CHARACTERS),
            Parameter("rows", "Of the terminal.", _CHARACTERS),
        ),
        fails=(400, 404),
        endless=True,
    ),
    Operation(
        "showDeployment",
        "GET",
        "/v1/deployments/{deployment_id}",
        "Show a deployment",
        found(any_of("DeploymentStatus", "GroupDeploymentStatus"), "Also one that has ended."),
        fails=(404,),
    ),
    Operation(
        "showStory",
        "GET",
        "/v1/instances/{instance_id}/story",
        "Tell the life of an instance",
        found("Story", "Its phases, and why."),
        fails=(404, 409),
    ),
    Operation(
        "pauseDeployment",
        "POST",
        "/v1/deployments/{deployment_id}/pause",
        "Hold a deployment",
        found(_DEPLOYMENT, "It is held.", Link("resumeDeployment", {"deployment_id": "$response.body#/id"})),
        fails=(404, 409),
        more="The id may also be that of its app.",
    ),
    Operation(
        "resumeDeployment",
        "POST",
        "/v1/deployments/{deployment_id}/resume",
        "Let a deployment go on",
        found(_DEPLOYMENT, "It goes on.", Link("pauseDeployment", {"deployment_id": "$response.body#/id"})),
        fails=(404, 409),
        more="The id may also be that of its app.",
    ),
    Operation(
        "promoteDeployment",
        "POST",
        "/v1/deployments/{deployment_id}/promote",
        "Let a deployment go on to its end",
        found(_DEPLOYMENT, "It goes on past all steps of its plan."),
        fails=(404, 409),
        more="The id may also be that of its app.",
    ),
    Operation("listServices", "GET", "/v1/services", "List services", found("Services", "What the registry knows.")),
    Operation(
        "releaseBrake",
        "POST",
        "/v1/brake/release",
        "Go on in spite of the brake",
        found("BrakeStatus", "It holds no more, until what made it hold is over."),
        fails=(409,),
    ),
    Operation(
        "listSecrets", "GET", "/v1/secrets", "List secrets", found("Secrets", "Never their values.", *_SECRET_LINKS)
    ),
    Operation(
        "setSecret",
        "PUT",
        "/v1/secrets/{secret}",
        "Set a secret",
        {200: _SECRET, 201: _SECRET._replace(says="It is new.")},
        body=Body(text={"type": "string", "minLength": 1, "maxLength": 65536, "pattern": r"^[^\x00]+$"}),
        fails=(400, 413, 422),
        more="The body is the value itself, as text in UTF-8.",
    ),
    Operation(
        "deleteSecret",
        "DELETE",
        "/v1/secrets/{secret}",
        "Delete a secret",
        {204: Answer("It is gone.")},
        fails=(404, 409),
    ),
    Operation(
        "rotateSecrets",
        "POST",
        "/v1/secrets/rotate",
        "Seal all secrets by a fresh key",
        found("Sealed", "How many."),
    ),
    Operation(
        "goDown",
        "POST",
        "/v1/down",
        "Stop everything",
        {202: Answer("Every instance is drained and stopped, then the platform ends.", {JSON: "Message"})},
        fails=(409,),
    ),
    Operation(
        "showOpenApi",
        "GET",
        "/openapi.json",
        "Show this document",
        {200: Answer("OpenAPI 3.1; its form is OpenAPI's own.", {JSON: {"type": "object"}})},
    ),
    Operation(
        "showDocs",
        "GET",
        "/docs",
        "Show this document as a page",
        {200: Answer("A page.", {"text/html": {"type": "string"}})},
    ),
)
