"""What Marathon says in a form of its own, or twice, is said in ours: each step gets a definition and notes what it
changed of what the definition means. Forms that `decode_app` reads by itself are left to it."""

from collections.abc import Callable
from typing import Any

from coldchain.documents.migration_note import Note

CREDENTIAL_FILES = ("docker.tar.gz", ".docker.tar.gz", ".dockercfg", "dockercfg", ".docker/config.json")
"""Names under which Marathon's users fetch credentials for pulling images."""


def in_our_forms(given: dict[str, Any], notes: list[Note]) -> dict[str, Any]:
    """The definition, itself changed."""
    steps: tuple[Callable[[dict[str, Any], list[Note]], None], ...] = (
        _arguments,
        _roles,
        _user,
        _container,
        _pull_credentials,
        _cached,
        _secret_names,
    )
    for step in steps:
        step(given, notes)
    return given


def _arguments(given: dict[str, Any], notes: list[Note]) -> None:
    """None, beside a command, are no other way of saying what to run."""
    if given.get("args") == []:
        del given["args"]


def _roles(given: dict[str, Any], notes: list[Note]) -> None:
    """Marathon answers its own default role, `*`, which is everybody's and says nothing."""
    if given.get("role") in ("*", ""):
        del given["role"]
    if "role" not in given and given.get("acceptedResourceRoles") in ([], ["*"]):
        del given["acceptedResourceRoles"]


def _container(given: dict[str, Any], notes: list[Note]) -> None:
    """The universal runtime of Mesos runs an image as Docker does, and without an image a process."""
    container = given.get("container")
    if not isinstance(container, dict) or container.get("type") != "MESOS":
        return
    if isinstance(container.get("docker"), dict):
        container["type"] = "DOCKER"
        reason, todo = "the image is run by Docker, not by the runtime of Mesos", "Nothing, for most images."
    elif not container.get("volumes") and not container.get("portMappings"):
        del given["container"]
        reason, todo = "without an image the command is a process of the machine", "See that it finds what it needs."
    else:
        return
    notes.append(Note(path="/container/type", kind="changed", reason=reason, todo=todo))


def _pull_credentials(given: dict[str, Any], notes: list[Note]) -> None:
    """A container fetches nothing; most of what is fetched for one are credentials for its image."""
    if not isinstance(given.get("container"), dict):
        return
    for field in ("fetch", "uris"):
        fetched = given.get(field)
        if not isinstance(fetched, list):
            continue
        kept = []
        for position, one in enumerate(fetched):
            uri = one.get("uri") if isinstance(one, dict) else one
            if isinstance(uri, str) and uri.endswith(CREDENTIAL_FILES):
                todo = "Log the agents' Docker in to the registry, and name its entry by `container.docker.pullConfig`."
                reason = "credentials for pulling the image are not fetched by apps"
                notes.append(Note(path=f"/{field}/{position}", kind="left out", reason=reason, todo=todo))
            else:
                kept.append(one)
        given[field] = kept
        if not kept:
            del given[field]


def _user(given: dict[str, Any], notes: list[Note]) -> None:
    """Beside Docker, Marathon's `user` is that of the executor, which the user of the container has nothing to do with.
    In the runtime of Mesos it is that of the task, as here."""
    container = given.get("container")
    if given.get("user") is None or not isinstance(container, dict) or container.get("type") == "MESOS":
        return
    del given["user"]
    reason = "a container runs as the user of its image, as it did: the field chose the user of Mesos' executor"
    todo = "Nothing; here `user` chooses that of the container."
    notes.append(Note(path="/user", kind="left out", reason=reason, todo=todo))


def _cached(given: dict[str, Any], notes: list[Note]) -> None:
    for position, one in enumerate(_objects(given.get("fetch"))):
        if one.pop("cache", False):
            reason = "what is fetched is not cached: each task fetches it anew"
            todo = "Nothing, if the server that has it can bear that."
            notes.append(Note(path=f"/fetch/{position}/cache", kind="left out", reason=reason, todo=todo))


def _secret_names(given: dict[str, Any], notes: list[Note]) -> None:
    """Names of secrets have no slashes; and their values nobody is shown, so that they cannot come along."""
    secrets = given.get("secrets")
    for name, secret in secrets.items() if isinstance(secrets, dict) else ():
        source = secret.get("source") if isinstance(secret, dict) else None
        if not isinstance(source, str):
            continue
        plain = source.strip("/").replace("/", ".")
        secret["source"] = plain
        called = "" if plain == source else f", and is called {plain} here, not {source}"
        notes.append(
            Note(
                path=f"/secrets/{name.replace('~', '~0').replace('/', '~1')}",
                kind="advice" if plain == source else "changed",
                reason=f"its value is not shown by Marathon{called}",
                todo=f"Set it before you deploy: coldchain secret set {plain}",
            )
        )


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; nothing where there is none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
