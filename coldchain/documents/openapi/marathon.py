"""The operations of `/v2`, and those beside it that Marathon's clients know."""

from coldchain.documents.answers import EMBEDS
from coldchain.documents.answers import OWN as OWN_EMBED
from coldchain.documents.events import MARATHONS
from coldchain.documents.openapi.operation import (
    EVENTS,
    FORCE,
    JSON,
    OVERRIDES,
    OWN,
    TEXT,
    Answer,
    Body,
    Link,
    Operation,
    Parameter,
    any_of,
    begun,
    embed,
    flag,
    found,
    of_app,
    of_deployment,
    words,
)
from coldchain.documents.openapi.schemas import STRING

_EMBED = embed("What is shown beside the definition.", [*EMBEDS, "failures", OWN_EMBED])
_APPS_EMBED = embed(
    "What is shown beside the definitions; counts and deployments always are.",
    [*(f"apps.{name}" for name in (*EMBEDS, "failures")), OWN_EMBED],
)
_EVENT_TYPES = {"type": "array", "items": {"type": "string", "examples": sorted(MARATHONS)}}
_DEPLOYMENTS = ("MarathonDeployment", "DeploymentAnswer", "GroupDeploymentAnswer")
_KILL = (
    flag("scale", "Lower the app's number by these tasks instead of replacing them."),
    flag("wipe", "What the tasks keep on their agents may go; not together with scale."),
    FORCE,
    OWN,
)
_TASK = Link("deleteAppTask", {"app_id": "$response.body#/tasks/0/appId", "task_id": "$response.body#/tasks/0/id"})
_TASKS = Answer(
    "The tasks; as text one line for each port, with where it is reached.",
    {JSON: "Tasks", TEXT: {"type": "string"}},
    links=(_TASK,),
)
_KILLED = Answer(
    "The tasks that are killed; with `scale` the deployment.",
    {JSON: any_of("Tasks", "Begun")},
)
_KILLED_ONE = Answer(
    "The task that is killed; with `scale` the deployment.",
    {JSON: any_of("OneTask", "Begun")},
)
_CREATED = Answer(
    "The app as it is wanted now, and the deployment that brings it about.",
    {JSON: "AppAnswer"},
    ("Location", "Marathon-Deployment-Id"),
    (
        *of_app("$response.body#/id", "$response.body#/version"),
        *of_deployment("$response.body#/deployments/0/id"),
    ),
)
_CHANGED = begun("The app is changed.")
_MADE = begun("The app was not there, and is made.")

MARATHON: tuple[Operation, ...] = (
    Operation(
        "listApps",
        "GET",
        "/v2/apps",
        "List apps",
        found("Apps", "All apps, or those that were chosen.", *of_app("$response.body#/apps/0/id")),
        takes=(
            Parameter("id", "Only those whose id contains this."),
            Parameter("cmd", "Only those whose command contains this."),
            Parameter("label", "Only those that this label selector chooses, such as `tier==web, zone in (a, b)`."),
            _APPS_EMBED,
        ),
        fails=(400,),
    ),
    Operation(
        "createApp",
        "POST",
        "/v2/apps",
        "Create an app",
        {201: _CREATED},
        takes=(*OVERRIDES, _EMBED),
        body=Body(("AppRequest",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "showApp",
        "GET",
        "/v2/apps/{app_id}",
        "Show an app",
        found(
            "OneApp",
            "The app; with counts, tasks, deployments and the last failure.",
            *of_app("$request.path.app_id", "$response.body#/app/version"),
            *of_deployment("$response.body#/app/deployments/0/id"),
            Link("deleteAppTask", {"app_id": "$request.path.app_id", "task_id": "$response.body#/app/tasks/0/id"}),
        ),
        takes=(_EMBED,),
        fails=(404,),
    ),
    Operation(
        "putApp",
        "PUT",
        "/v2/apps/{app_id}",
        "Change an app, or create it",
        {200: _CHANGED, 201: _MADE._replace(headers=(*_MADE.headers, "Location"))},
        takes=(
            FORCE,
            flag("partialUpdate", "On unless it is false: change the fields given, and leave the others."),
            *OVERRIDES,
        ),
        body=Body(("AppPart", "ToVersion")),
        fails=(400, 404, 409, 413, 422),
        more="With nothing but a version in the body the app goes back to that version.",
    ),
    Operation(
        "patchApp",
        "PATCH",
        "/v2/apps/{app_id}",
        "Change an app that is there",
        {200: _CHANGED},
        takes=(FORCE, *OVERRIDES),
        body=Body(("AppPart",)),
        fails=(400, 404, 409, 413, 422),
    ),
    Operation(
        "deleteApp",
        "DELETE",
        "/v2/apps/{app_id}",
        "Delete an app",
        {200: begun("Its instances are drained and stopped.")},
        takes=(FORCE,),
        fails=(400, 404, 409),
    ),
    Operation(
        "restartApp",
        "POST",
        "/v2/apps/{app_id}/restart",
        "Replace every instance of an app",
        {200: begun("The rollout.")},
        takes=(FORCE, *OVERRIDES),
        fails=(400, 404, 409, 422),
    ),
    Operation(
        "listAppTasks",
        "GET",
        "/v2/apps/{app_id}/tasks",
        "List the tasks of an app",
        {200: _TASKS},
        takes=(OWN,),
        fails=(404,),
    ),
    Operation(
        "deleteAppTasks",
        "DELETE",
        "/v2/apps/{app_id}/tasks",
        "Kill tasks of an app",
        {200: _KILLED},
        takes=(Parameter("host", "Only those on this agent."), *_KILL),
        fails=(400, 404, 409),
    ),
    Operation(
        "deleteAppTask",
        "DELETE",
        "/v2/apps/{app_id}/tasks/{task_id}",
        "Kill a task",
        {200: _KILLED_ONE},
        takes=_KILL,
        fails=(400, 404, 409),
    ),
    Operation(
        "listVersions",
        "GET",
        "/v2/apps/{app_id}/versions",
        "List the versions of an app",
        found(
            "Versions",
            "The latest first.",
            Link("showVersion", {"app_id": "$request.path.app_id", "version": "$response.body#/versions/0"}),
        ),
        fails=(404,),
    ),
    Operation(
        "showVersion",
        "GET",
        "/v2/apps/{app_id}/versions/{version}",
        "Show a version of an app",
        found("VersionAnswer", "The definition as it was."),
        takes=(OWN,),
        fails=(404,),
    ),
    Operation(
        "listDeployments",
        "GET",
        "/v2/deployments",
        "List running deployments",
        {
            200: Answer(
                "Those that run.",
                {
                    JSON: {
                        "type": "array",
                        "items": any_of(*_DEPLOYMENTS),
                    }
                },
                links=of_deployment("$response.body#/0/id"),
            )
        },
        takes=(OWN,),
    ),
    Operation(
        "cancelDeployment",
        "DELETE",
        "/v2/deployments/{deployment_id}",
        "Take a deployment back",
        {
            200: Answer(
                "The deployment that leads back.",
                {JSON: "Begun"},
                ("Marathon-Deployment-Id",),
                of_deployment("$response.body#/deploymentId"),
            ),
            202: Answer("With `force`: it just ended where it was."),
        },
        takes=(flag("force", "Just end it."),),
        fails=(400, 404, 409),
    ),
    Operation(
        "listTasks",
        "GET",
        "/v2/tasks",
        "List tasks",
        {200: _TASKS},
        takes=(
            words("status", "Only those in these states.", ["running", "staging"]),
            words("status[]", "The same.", ["running", "staging"]),
            OWN,
        ),
        fails=(400,),
    ),
    Operation(
        "deleteTasks",
        "POST",
        "/v2/tasks/delete",
        "Kill tasks",
        {200: _KILLED},
        takes=_KILL,
        body=Body(("TaskIds",)),
        fails=(400, 404, 409, 413, 422),
    ),
    Operation(
        "listQueue",
        "GET",
        "/v2/queue",
        "Show what waits to be launched",
        found("Queue", "Every app that waits.", Link("resetDelay", {"app_id": "$response.body#/queue/0/app/id"})),
        takes=(embed("Also some of the offers that did not do.", ["lastUnusedOffers"]),),
    ),
    Operation(
        "resetDelay",
        "DELETE",
        "/v2/queue/{app_id}/delay",
        "Launch at once what waits for its failures",
        {204: Answer("It is launched.")},
        fails=(404,),
    ),
    Operation(
        "followEvents",
        "GET",
        "/v2/events",
        "Follow what happens",
        {200: Answer("Server-sent events, each with `id`, `event` and `data`.", {EVENTS: {"type": "string"}})},
        takes=(
            Parameter("event_type", "Only events of these types.", _EVENT_TYPES),
            Parameter("plan-format", "`light`: plans without the groups before and after.", {"enum": ["light"]}),
            embed("`coldchain`: also the types that Marathon has not.", [OWN_EMBED]),
            Parameter("lastEventId", "As the header Last-Event-ID.", {"type": "string"}),
            Parameter("Last-Event-ID", "Go on after this event.", {"type": "string"}, "header"),
        ),
        fails=(400, 405),
        endless=True,
        more="Ask with the header `Accept: text/event-stream`; 405 without.",
    ),
    Operation("showInfo", "GET", "/v2/info", "Show what this is", found("Info", "The controller, in Marathon's form.")),
    Operation("showLeader", "GET", "/v2/leader", "Show who leads", found("Leader", "The address of the controller.")),
    Operation(
        "abdicate",
        "DELETE",
        "/v2/leader",
        "Have another controller lead",
        {},
        fails=(409,),
        more="The leader of several controllers lets another one lead; 409 where there is one alone.",
    ),
    Operation("listPlugins", "GET", "/v2/plugins", "List plugins", found("Plugins", "There are none.")),
    *(
        Operation(
            f"{method.lower()}Pods",
            method,
            "/v2/pods",
            "There are no pods",
            {},
            fails=(404,),
            more="Also at all addresses below.",
        )
        for method in ("GET", "POST", "PUT", "DELETE")
    ),
    *(
        Operation(
            f"{method.lower()}EventSubscriptions",
            method,
            "/v2/eventSubscriptions",
            "Events are not sent to addresses",
            {400: Answer("There is nothing to be sent.", {JSON: "Message"})},
            more="Follow the stream of `/v2/events`.",
        )
        for method in ("GET", "POST", "DELETE")
    ),
    Operation("showLogging", "GET", "/logging", "Show the level of the log", found("Logging", "It has everything.")),
    Operation("ping", "GET", "/ping", "Be there", {200: Answer("pong", {TEXT: {"const": "pong"}})}),
    Operation(
        "showMetrics",
        "GET",
        "/metrics",
        "Show the controller's numbers",
        {200: Answer("In Marathon's form; for Prometheus in its own.", {JSON: "Metrics", TEXT: STRING})},
    ),
    Operation(
        "showPrometheus",
        "GET",
        "/metrics/prometheus",
        "Show the controller's numbers to Prometheus",
        {200: Answer("In its text form.", {TEXT: STRING})},
    ),
)
