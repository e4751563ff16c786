"""Schemas made of nouns: of answers as they are, of definitions as they are read and as they are shown."""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import msgspec

from coldchain.decisions.actions import Action
from coldchain.documents.answers import OWN_FIELDS
from coldchain.documents.bundle import Bundle
from coldchain.documents.deprecated import ANSWERED, EXECUTORS, MODES
from coldchain.documents.exchange import Given
from coldchain.documents.gray_request import GrayChange
from coldchain.documents.openapi import (
    answers,
    caller_shapes,
    consumer_shapes,
    gray_shapes,
    group_shapes,
    network_shapes,
    node_shapes,
    own_answers,
    policy_shapes,
)
from coldchain.documents.policy_request import PolicyQuestion, PolicyRequest
from coldchain.documents.rules import ID_CHARACTERS_MAX, ID_SEGMENT
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.rotation import GatewayReport

Schema = dict[str, Any]
Schemas = dict[str, Schema]

PLACE = "#/components/schemas/"
STRING: Schema = {"type": "string"}
REQUEST, ANSWER = "Request", "Answer"
"""What the names of schemas end with that describe a definition as it is read, and as it is shown."""
SEGMENTS = f"^/?{ID_SEGMENT.pattern}(/{ID_SEGMENT.pattern})*/?$"


def ref(name: str) -> Schema:
    """The schema of this name."""
    return {"$ref": PLACE + name}


def schemas() -> Schemas:
    """All schemas by name, in order."""
    modules = (
        answers,
        own_answers,
        group_shapes,
        caller_shapes,
        consumer_shapes,
        network_shapes,
        node_shapes,
        policy_shapes,
        gray_shapes,
    )
    shapes = [one for module in modules for one in _shapes(module)]
    asked = (GatewayReport, GrayChange, PolicyQuestion, PolicyRequest)
    made = _of_nouns([App, Bundle, Given, *asked, *shapes, *Action.__subclasses__()])
    _tell_actions_apart(made)
    made |= _definitions(made, REQUEST, _read_as) | _definitions(made, ANSWER, _shown_as)
    made |= _requests(made) | _answers(made)
    for unused in ("Embedded", "Stored", "StoredVersion", "Queued"):
        del made[unused]
    return {name: made[name] for name in sorted(made)}


def _shapes(module: object) -> Iterator[type[Noun]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Noun) and value.__module__ == module.__name__:  # type: ignore[attr-defined]
            yield value


def _of_nouns(nouns: Iterable[type[Noun]]) -> Schemas:
    _, made = msgspec.json.schema_components(nouns, ref_template=PLACE + "{name}")
    for schema in made.values():
        schema.pop("title", None)
        schema["description"] = _words(schema.get("description", ""), schema.get("properties", {}))
    return made


def _words(docstring: str, properties: Schema) -> str:
    """On one line, and with the fields called as documents call them."""

    def renamed(found: re.Match[str]) -> str:
        first, *others = found[1].split("_")
        name = first + "".join(other.capitalize() for other in others)
        return f"`{name}`" if name in properties else found[0]

    text = re.sub(r"`([a-z0-9_]+)`", renamed, " ".join(docstring.split()))
    return re.sub(r"\bNone\b", "null", text)


def _tell_actions_apart(made: Schemas) -> None:
    """A recorded action has its name beside its fields."""
    names = [action.__name__ for action in Action.__subclasses__()]
    for name in names:
        made[name]["properties"] = {"action": {"const": name}, **made[name]["properties"]}
        made[name]["required"] = ["action", *made[name].get("required", [])]
    made["Recorded"]["properties"]["actions"]["items"] = {"anyOf": [ref(name) for name in names]}


def _definitions(made: Schemas, suffix: str, change: Any) -> Schemas:
    """Copies of the schema of apps and of all that it is made of."""
    names = list(_reached("App", made))
    copies = {}
    for name in names:
        copy = _renamed(deepcopy(made[name]), set(names), suffix)
        if name == "App":
            _speak_of_secrets(copy)
        change(name, copy)
        copies[name + suffix] = copy
    return copies


def _reached(name: str, made: Schemas) -> Iterator[str]:
    found: dict[str, None] = {}
    open_names = [name]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found[name] = None
            open_names += _refs(made[name])
    return iter(found)


def _refs(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].removeprefix(PLACE)
        for member in schema.values():
            yield from _refs(member)
    elif isinstance(schema, list):
        for member in schema:
            yield from _refs(member)


def _renamed(schema: Any, names: set[str], suffix: str) -> Any:
    if isinstance(schema, dict):
        return {
            key: PLACE + member.removeprefix(PLACE) + suffix
            if key == "$ref" and member.removeprefix(PLACE) in names
            else _renamed(member, names, suffix)
            for key, member in schema.items()
        }
    return [_renamed(member, names, suffix) for member in schema] if isinstance(schema, list) else schema


def _speak_of_secrets(app: Schema) -> None:
    """Definitions have variables whose value is a secret in `env`; and ids have a form."""
    app["description"] = "One app as wanted. Sizes: cpus in shares of a core, mem and disk in MiB."
    members = app["properties"]
    del members["secretEnv"]
    secret = _object({"secret": {"type": "string", "minLength": 1, "maxLength": 255}}, "The name of a secret.")
    members["env"]["additionalProperties"] = {"anyOf": [members["env"]["additionalProperties"], secret]}
    members["id"] |= {"pattern": SEGMENTS, "maxLength": ID_CHARACTERS_MAX}


OLD_FORMS: Mapping[str, Schemas] = {
    "App": {
        "uris": {"type": "array", "items": STRING, "description": "As fetch."},
        "ports": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}},
        "executor": {"enum": list(EXECUTORS)},
    },
    "Docker": {
        "network": {"enum": list(MODES), "description": "As networks."},
        "portMappings": {"type": "array", "items": ref("PortMapping" + REQUEST)},
    },
}
"""What Marathon's clients still write, beside the new forms."""


def _object(properties: Schema, description: str, optional: Iterable[str] = ()) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _nullable(schema: Schema) -> bool:
    return {"type": "null"} in schema.get("anyOf", ())


def _read_as(name: str, schema: Schema) -> None:
    """Null is read as not given: Marathon's clients send it for what they do not set."""
    for member, of in schema["properties"].items():
        if member not in schema.get("required", ()) and not _nullable(of):
            default = {"default": of.pop("default")} if "default" in of else {}
            schema["properties"][member] = {"anyOf": [of, {"type": "null"}], **default}

    for member, of in OLD_FORMS.get(name, {}).items():
        schema["properties"][member] = {"anyOf": [of, {"type": "null"}], "deprecated": True}


def _shown_as(name: str, schema: Schema) -> None:
    """Everything is written out, and nothing where nothing is set."""
    own = OWN_FIELDS if name == "App" else ()
    schema["required"] = [
        member for member, of in schema["properties"].items() if member not in own and not _nullable(of)
    ]
    for member, of in schema["properties"].items():
        of.pop("default", None)
        if _nullable(of):
            kinds = [kind for kind in of["anyOf"] if kind != {"type": "null"}]
            schema["properties"][member] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _requests(made: Schemas) -> Schemas:
    """The bodies that are read."""
    whole = made["AppRequest"]
    whole["description"] += " What answers have beside the definition is passed over, so that one can be sent back."
    anything = {"type": ["array", "boolean", "integer", "null", "number", "object", "string"]}
    for name in sorted(ANSWERED):
        whole["properties"][name] = anything | {"description": "Passed over: answers have it."}
    id_optional = deepcopy(whole)
    id_optional["required"] = []
    id_optional["description"] += " The id may be left out: the address has it."
    version = {"type": "string", "description": "One of the app's versions."}
    return {
        "AppPart": id_optional | {"description": "The fields of an app that change; null restores a default."},
        "AppAtAddress": id_optional,
        "ToVersion": _object(
            {"id": deepcopy(whole["properties"]["id"]), "version": version},
            "Nothing but a version, and the app's id if need be: go back to it.",
            ["id"],
        ),
        "Rollback": _object(
            {"version": {"anyOf": [version, {"type": "null"}]}},
            "Where to; without a version to the last with another configuration.",
            ["version"],
        ),
        "SeveralApps": {
            "type": "array",
            "items": ref("AppRequest"),
            "description": "Several apps, of each the fields that change.",
        },
        "GroupRequest": _group_request("What becomes of a group: what is not given stays."),
        "GroupInGroup": _group_request("A group in a group.") | {"required": ["id"]},
        "GroupVersion": _of_group_alone("version", STRING, "Go back to this version."),
        "GroupScale": _of_group_alone(
            "scaleBy",
            {"type": "number", "minimum": 0, "maximum": 10_000},
            "Multiply the number of instances of each app.",
        ),
        "TaskIds": _object(
            {"ids": {"type": "array", "items": {"type": "string"}, "description": "Ids of tasks."}}, "Which tasks."
        ),
    }


def _group_request(description: str) -> Schema:
    members = {"apps": ref("AppRequest"), "groups": ref("GroupInGroup"), "dependencies": STRING}
    arrays = {
        name: {"anyOf": [{"type": "array", "items": of}, {"type": "null"}], "default": None}
        for name, of in members.items()
    }
    return _object({"id": STRING, **arrays}, description, ["id", *arrays])


def _of_group_alone(name: str, schema: Schema, description: str) -> Schema:
    """A member that says all; null is not given here, too."""
    others = {"id": STRING, **{other: {"type": "null"} for other in ("apps", "groups", "dependencies")}}
    return _object({name: schema, **others}, description, others)


def _answers(made: Schemas) -> Schemas:
    """Definitions with what stands beside them in answers."""
    app = _together(made["AppAnswer"], made["Embedded"], "An app as it is wanted, and what was embedded.")
    queued = deepcopy(made["Queued"])
    queued["properties"]["app"] = ref("StoredApp")
    queued["required"] = ["app", *queued["required"]]
    queued["description"] = "An app of which something waits to be launched."
    return {
        "AppAnswer": app,
        "StoredApp": _together(made["AppAnswer"], made["Stored"], "An app as it is wanted."),
        "VersionAnswer": _together(made["AppAnswer"], made["StoredVersion"], "A definition as it was."),
        "OneApp": _object({"app": ref("AppAnswer")}, "One app."),
        "Apps": _object({"apps": {"type": "array", "items": ref("AppAnswer")}}, "Several apps."),
        "GroupAnswer": _group_answer("GroupAnswer", "AppAnswer", "Apps under a common path, and what was embedded."),
        "GroupOfThen": _group_answer("GroupOfThen", "VersionAnswer", "A group as it was."),
        "AppList": {"type": "array", "items": ref("AppAnswer"), "description": "Several apps."},
        "VersionList": {"type": "array", "items": made["Begun"]["properties"]["version"], "description": "Versions."},
        "QueuedApp": queued,
        "Queue": _object({"queue": {"type": "array", "items": ref("QueuedApp")}}, "All that wait."),
    }


def _group_answer(group: str, app: str, description: str) -> Schema:
    members = {
        "id": STRING,
        "version": STRING,
        "dependencies": {"type": "array", "items": STRING},
        "apps": {"type": "array", "items": ref(app)},
        "pods": {"type": "array", "items": STRING, "maxItems": 0},
        "groups": {"type": "array", "items": ref(group)},
    }
    return _object(members, description, ["apps", "pods", "groups"])


def _together(left: Schema, right: Schema, description: str) -> Schema:
    return left | {
        "description": description,
        "properties": left["properties"] | right["properties"],
        "required": [*left["required"], *right.get("required", ())],
    }
