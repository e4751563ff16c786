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
        _once,
        _roles,
        _container,
        _mapped_ports,
        _pull_credentials,
        _user,
        _cached,
        _secret_names,
    )
    for step in steps:
        step(given, notes)
    return given


def _once(given: dict[str, Any], notes: list[Note]) -> None:
    """Before 1.5 Marathon answered an old field and the new one in its place side by side. Nothing is lost."""
    definitions, ports = _objects(given.get("portDefinitions")), given.get("ports")
    if definitions and ports == [one.get("port", 0) for one in definitions]:
        del given["ports"]
    fetched, uris = {one.get("uri") for one in _objects(given.get("fetch")) if isinstance(one.get("uri"), str)}, None
    if isinstance(given.get("uris"), list) and all(isinstance(one, str) for one in given["uris"]):
        uris = set(given["uris"])
    if uris is not None and uris <= fetched:
        del given["uris"]
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


def _mapped_ports(given: dict[str, Any], notes: list[Note]) -> None:
    """In a network of containers the service ports stood in `ports`, too: those of the mappings say the same."""
    container = given.get("container")
    if not isinstance(container, dict) or not _in_own_network(given, container):
        return
    docker = container.get("docker")
    mappings = _objects(container.get("portMappings")) or (
        _objects(docker.get("portMappings")) if isinstance(docker, dict) else []
    )
    if not mappings:
        return
    definitions = [one.get("port", 0) for one in _objects(given.get("portDefinitions"))]
    ports = definitions or given.get("ports")
    if not isinstance(ports, list):
        return
    for mapping, port in zip(mappings, ports, strict=False):
        mapping["servicePort"] = mapping.get("servicePort") or port
    if all(port in [mapping["servicePort"] for mapping in mappings[: len(ports)]] for port in ports):
        given.pop("portDefinitions", None)
        given.pop("ports", None)


def _in_own_network(given: dict[str, Any], container: dict[str, Any]) -> bool:
    modes = [one.get("mode") for one in _objects(given.get("networks"))]
    docker = container.get("docker")
    old = docker.get("network") if isinstance(docker, dict) else None
    return "ipAddress" in given or old in ("BRIDGE", "USER") or any(mode != "host" for mode in modes)


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
    """Marathon's `user` is that of the executor, which an image's own user has nothing to do with."""
    if given.get("user") is None or not isinstance(given.get("container"), dict):
        return
    del given["user"]
    reason = "a container runs as the user of its image, as it did: the field chose the user of Mesos' executor"
    todo = 'Nothing; another user is chosen by {"key": "user", "value": …} in `container.docker.parameters`.'
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
