"""routes_file: the routes of several apps as one document: `apps`, by id a list each."""

from typing import Any

from coldchain.model.errors import InvalidDocument, Problem


def decode_routes(document: Any) -> dict[str, list[Any]]:
    """The lists by app, as they are written: an app says what is right in them. Raises InvalidDocument."""
    apps = document.get("apps") if isinstance(document, dict) else None
    problems = []
    if not isinstance(apps, dict) or not apps:
        problems.append(Problem(path="/apps", reason="must name the apps, each with a list of its routes"))
    else:
        for app_id, routes in apps.items():
            place = "/apps/" + str(app_id).replace("~", "~0").replace("/", "~1")
            if not isinstance(app_id, str) or not app_id.startswith("/"):
                problems.append(Problem(path=place, reason="is no id of an app: they begin with `/`"))
            elif not isinstance(routes, list):
                problems.append(Problem(path=place, reason="must be a list of routes; empty for none"))
    if isinstance(document, dict):
        others = [str(name) for name in document if name != "apps"]
        problems += [Problem(path=f"/{name}", reason="is not known here: only `apps` is") for name in others]
    if problems or not isinstance(apps, dict):
        raise InvalidDocument(problems)
    return apps
