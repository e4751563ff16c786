"""The app definition as its writers know it: Marathon's JSON, or the same in YAML, with Coldchain's own fields."""

from typing import Any

from msgspec import structs, to_builtins

from coldchain.documents.deprecated import modernised, replaced_by
from coldchain.documents.findings import Findings, TooMany
from coldchain.documents.rules import app_findings
from coldchain.documents.shape import read
from coldchain.documents.text import parse_json, parse_yaml
from coldchain.model.app import App, HealthCheck, PortDefinition, Route
from coldchain.model.errors import InvalidDocument

DEADLINE_AFTER_GRACE_SECONDS = 300.0
"""Where no deadline is given it leaves at least this long after the longest time an instance has to become healthy."""

_LATER = """
    apps container.appc container.docker.credential container.linuxInfo groups linuxInfo residency
"""
EXPLAINED = dict.fromkeys(_LATER.split(), "is a field of Marathon's that Coldchain does not have yet")


def decode_app(document: object, *, app_id: str | None = None) -> App:
    """The app in a definition: JSON text (bytes or str), or what a parser made of it.

    `app_id`: the id from the address the definition was sent to; the definition may then lack its own.
    Raises `MalformedDocument` if the text is no document at all, `InvalidDocument` with everything that is wrong.
    """
    if isinstance(document, bytes | str):
        document = parse_json(document)
    findings = Findings()
    try:
        app = _read(document, app_id, findings)
    except TooMany:
        app = None
    problems = findings.problems(document)
    if problems:
        raise InvalidDocument(problems)
    assert app is not None, "nothing was read and nothing is wrong"
    return app


def decode_yaml(document: bytes | str, *, app_id: str | None = None) -> App:
    """As `decode_app`, for YAML."""
    return decode_app(parse_yaml(document), app_id=app_id)


def merge_app(current: App, patch: object) -> App:
    """Marathon's partial update: each field that the patch gives replaces the whole field, null restores its default.

    Of cmd and args the one that is given takes the place of the other. Raises as `decode_app`.
    """
    if isinstance(patch, bytes | str):
        patch = parse_json(patch)
    if not isinstance(patch, dict):
        return decode_app(patch)
    merged = encode_app(current)
    for given, other in (("cmd", "args"), ("args", "cmd")):
        if patch.get(given) is not None:
            merged.pop(other, None)
    for name in replaced_by(patch):
        del merged[name]
    return decode_app(merged | patch, app_id=current.id)


def encode_app(app: App) -> dict[str, Any]:
    """The definition as plain objects, ready for JSON: defaults written out, nothing where nothing is set."""
    encoded = _without_nothing(to_builtins(app))
    assert isinstance(encoded, dict)
    del encoded["secretEnv"]
    encoded["env"] |= {name: {"secret": secret} for name, secret in app.secret_env.items()}
    for network in encoded["networks"]:
        if not network["labels"]:
            del network["labels"]  # as Marathon does
    return encoded


def encode_check(check: HealthCheck) -> dict[str, Any]:
    """One health check, as it stands in a definition."""
    encoded = _without_nothing(to_builtins(check))
    assert isinstance(encoded, dict)
    return encoded


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nothing(member) for name, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [_without_nothing(member) for member in value]
    return value


def _read(document: object, app_id: str | None, findings: Findings) -> App | None:
    given = document
    if app_id is not None and isinstance(document, dict) and document.get("id") is None:
        given = {**document, "id": app_id}
    if isinstance(given, dict):
        given = modernised(given, findings)
    given, secret_env = _without_secrets(given, findings)
    app = read(App, given, findings, EXPLAINED)
    if app is None:
        return None
    app = structs.replace(_normalised(app), secret_env=secret_env)
    alone = app.container is None and app.network.mode == "host"
    if alone and isinstance(given, dict) and given.get("portDefinitions") is None:
        app = structs.replace(app, port_definitions=(PortDefinition(name="default"),))
    if isinstance(given, dict) and given.get("deadlineSeconds") is None:
        app = structs.replace(app, deadline_seconds=usual_deadline_seconds(app))
    findings.extend(app_findings(app))
    if app_id is not None and app.id != _absolute(app_id):
        findings.report(("id",), f"is not the app it was sent to, {_absolute(app_id)}")
    return app


def _without_secrets(given: object, findings: Findings) -> tuple[object, dict[str, str]]:
    """The definition without the variables whose value is a secret, and those, by the name of the secret."""
    if not isinstance(given, dict):
        return given, {}
    if given.get("secretEnv") is not None:
        findings.report(("secretEnv",), 'is not a field: write the variable in env, as {"secret": NAME}')
    given = {name: member for name, member in given.items() if name != "secretEnv"}
    secret_env: dict[str, str] = {}
    if isinstance(given.get("env"), dict):
        for name, value in given["env"].items():
            if isinstance(value, dict):
                if value.keys() == {"secret"} and isinstance(value["secret"], str) and isinstance(name, str):
                    secret_env[name] = value["secret"]
                else:
                    findings.report(("env", str(name)), 'must be text, or {"secret": NAME}')
        given["env"] = {name: value for name, value in given["env"].items() if not isinstance(value, dict)}
    return given, secret_env


def _normalised(app: App) -> App:
    """The same app in the one way Coldchain writes it."""
    return structs.replace(
        app,
        id=_absolute(app.id),
        health_checks=tuple(_with_port(check) for check in app.health_checks),
        require_ports=app.require_ports and app.network.mode == "host",
        routes=tuple(_plain(route) for route in app.routes),
        constraints=tuple(_constraint(one) for one in app.constraints),
        dependencies=tuple(dict.fromkeys(resolved(one, _absolute(app.id)) for one in app.dependencies)),
    )


def _absolute(app_id: str) -> str:
    return "/" + app_id.removeprefix("/").removesuffix("/")


def resolved(name: str, base: str) -> str:
    """The absolute id that a relative one means, seen from `base`; as it is where it leads out of everything."""
    parts = [] if name.startswith("/") else base.strip("/").split("/")
    for part in name.strip("/").split("/"):
        if part == ".." and not parts:
            return name
        parts = parts[:-1] if part == ".." else [*parts, *(() if part in ("", ".") else (part,))]
    return "/" + "/".join(filter(None, parts))


def _with_port(check: HealthCheck) -> HealthCheck:
    if check.protocol == "COMMAND":
        return check
    if check.port_index is None and check.port_name is None and check.port is None:
        return structs.replace(check, port_index=0)
    return check


def _constraint(text: tuple[str, ...]) -> tuple[str, ...]:
    """With its operator in capitals, and without an empty value; () stands for one that could not be read."""
    return (*text[:1], *(operator.upper() for operator in text[1:2]), *filter(None, text[2:]))


def _plain(route: Route) -> Route:
    """Without what makes no difference. Of an exact path, and of a regular expression, a slash at the end does."""
    whole = route.path_kind != "prefix" or len(route.path) == 1
    return structs.replace(
        route,
        domains=tuple(domain.lower() for domain in route.domains),
        path=route.path if whole else route.path.rstrip("/"),
    )


def usual_deadline_seconds(app: App) -> float:
    """The time limit of an app whose definition gives none."""
    waits = [check.delay_seconds + check.grace_period_seconds for check in app.health_checks]
    return max([App(id="/").deadline_seconds, *(wait + DEADLINE_AFTER_GRACE_SECONDS for wait in waits)])
