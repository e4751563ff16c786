"""The operations of groups, and of several apps at once."""

from coldchain.documents.group_answers import GROUP_EMBEDS
from coldchain.documents.openapi.operation import (
    FORCE,
    JSON,
    OVERRIDES,
    Answer,
    Body,
    Link,
    Operation,
    any_of,
    embed,
    flag,
    found,
    of_app,
    of_deployment,
)
from coldchain.documents.openapi.operation import OWN as OWN_FIELDS

_EMBED = embed(
    "Groups, apps and pods unless something is named; `group.apps.tasks` and its like are shown in the apps.",
    [*sorted(f"group.{name}" for name in GROUP_EMBEDS), "group.apps.tasks", "coldchain"],
)
_APPS_EMBED = embed("What is shown beside the definitions.", ["group.apps.tasks", "coldchain"])
_BODY = Body(("GroupRequest", "GroupVersion", "GroupScale"))
_CHANGED = Answer(
    "The deployment of all its apps.",
    {JSON: "Begun"},
    ("Marathon-Deployment-Id",),
    of_deployment("$response.body#/deploymentId"),
)
_CREATED = _CHANGED._replace(says="The group is made.", headers=("Marathon-Deployment-Id", "Location"))
_PUT = Answer(
    "The deployment; with `dryRun` its steps.",
    {JSON: any_of("Begun", "GroupSteps")},
    links=of_deployment("$response.body#/deploymentId"),
)
_PARTIAL = flag("partialUpdate", "On unless it is false: change the fields given, and leave the others.")
_PUT_TAKES = (flag("dryRun", "Only say by which steps; nothing is stored."), FORCE, *OVERRIDES)
_WRITE_FAILS = (400, 404, 409, 413, 422)


def _of_group(group_id: str) -> tuple[Link, ...]:
    names = ("showGroup", "putGroup", "deleteGroup", "listGroupApps", "listGroupVersions")
    return tuple(Link(name, {"group_id": group_id}) for name in names)


_SHOWN = found("GroupAnswer", "What is in it.", *_of_group("$response.body#/groups/0/id"))

GROUPS: tuple[Operation, ...] = (
    Operation(
        "putApps",
        "PUT",
        "/v2/apps",
        "Change several apps, or create them, in one deployment",
        {200: _CHANGED},
        takes=(_PARTIAL, FORCE, *OVERRIDES),
        body=Body(("SeveralApps",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "patchApps",
        "PATCH",
        "/v2/apps",
        "Change several apps that are there, in one deployment",
        {200: _CHANGED},
        takes=(FORCE, *OVERRIDES),
        body=Body(("SeveralApps",)),
        fails=_WRITE_FAILS,
    ),
    Operation("showRoot", "GET", "/v2/groups", "Show the group of all apps", _SHOWN, takes=(_EMBED,)),
    Operation("showGroup", "GET", "/v2/groups/{group_id}", "Show a group", _SHOWN, takes=(_EMBED,), fails=(404,)),
    Operation(
        "createGroup",
        "POST",
        "/v2/groups",
        "Create a group",
        {201: _CREATED},
        takes=(FORCE, *OVERRIDES),
        body=Body(("GroupRequest",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "createGroupAt",
        "POST",
        "/v2/groups/{group_id}",
        "Create a group at its address",
        {201: _CREATED},
        takes=(FORCE, *OVERRIDES),
        body=Body(("GroupRequest",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "putRoot",
        "PUT",
        "/v2/groups",
        "Change the group of all apps, or the one that the body names",
        {200: _PUT},
        takes=_PUT_TAKES,
        body=_BODY,
        fails=_WRITE_FAILS,
    ),
    Operation(
        "putGroup",
        "PUT",
        "/v2/groups/{group_id}",
        "Change a group, or create it",
        {200: _PUT},
        takes=_PUT_TAKES,
        body=_BODY,
        fails=_WRITE_FAILS,
    ),
    Operation(
        "putGroupVersion",
        "PUT",
        "/v2/groups/{group_id}/versions/{version}",
        "Go back to a version of a group",
        {200: _PUT},
        takes=_PUT_TAKES,
        fails=(400, 404, 409, 422),
    ),
    Operation(
        "deleteRoot",
        "DELETE",
        "/v2/groups",
        "Delete all apps and groups",
        {200: _CHANGED},
        takes=(FORCE,),
        fails=(400, 409),
    ),
    Operation(
        "deleteGroup",
        "DELETE",
        "/v2/groups/{group_id}",
        "Delete a group with all in it",
        {200: _CHANGED},
        takes=(FORCE,),
        fails=(400, 404, 409),
    ),
    Operation(
        "listRootApps",
        "GET",
        "/v2/groups/apps",
        "List all apps",
        found("AppList", "All apps.", *of_app("$response.body#/0/id")),
        takes=(_APPS_EMBED,),
    ),
    Operation(
        "listGroupApps",
        "GET",
        "/v2/groups/{group_id}/apps",
        "List the apps of a group",
        found("AppList", "At any depth.", *of_app("$response.body#/0/id")),
        takes=(_APPS_EMBED,),
        fails=(404,),
    ),
    Operation(
        "listRootVersions",
        "GET",
        "/v2/groups/versions",
        "List the versions of the group of all apps",
        found("VersionList", "The latest first.", Link("showRootVersion", {"version": "$response.body#/0"})),
    ),
    Operation(
        "listGroupVersions",
        "GET",
        "/v2/groups/{group_id}/versions",
        "List the versions of a group",
        found(
            "VersionList",
            "The latest first.",
            Link("showGroupVersion", {"group_id": "$request.path.group_id", "version": "$response.body#/0"}),
        ),
        fails=(404,),
    ),
    Operation(
        "showRootVersion",
        "GET",
        "/v2/groups/versions/{version}",
        "Show a version of the group of all apps",
        found("GroupOfThen", "The group as it was."),
        takes=(OWN_FIELDS,),
        fails=(404,),
    ),
    Operation(
        "showGroupVersion",
        "GET",
        "/v2/groups/{group_id}/versions/{version}",
        "Show a version of a group",
        found("GroupOfThen", "The group as it was."),
        takes=(OWN_FIELDS,),
        fails=(404,),
    ),
)
