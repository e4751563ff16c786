"""Images: what a tag means, and bringing images onto this machine."""

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

from coldchain.clients.docker import DockerClient, DockerRefused, DockerUnavailable
from coldchain.model.app import Docker
from coldchain.model.errors import Rejected, Unavailable
from coldchain.ports.engine import Progress
from coldchain.runners.docker.hints import todo_for
from coldchain.runners.docker.settings import DockerSettings

DEFAULT_REGISTRY = "docker.io"
DEFAULT_REGISTRY_ENTRIES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
PULL_RETRY_SECONDS = 5.0
PROGRESS_SECONDS = 0.5
MIB = 1024 * 1024


class Reference(NamedTuple):
    """The parts of an image's name. `name` as the user wrote it, without tag and digest; `tag` may be a digest."""

    name: str
    tag: str
    registry: str
    repository: str


def parse_reference(text: str) -> Reference:
    """`shop`, `team/shop:1.2`, `registry:5000/shop@sha256:…` → its parts, with Docker's defaults filled in."""
    name, at, tag = text.partition("@")
    head, colon, last = name.rpartition(":")
    if colon and "/" not in last:
        name, tag = head, tag if at else last
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return Reference(name, tag or "latest", first, rest)
    return Reference(name, tag or "latest", DEFAULT_REGISTRY, name if slash else f"library/{name}")


def resolved_image(reference: Reference, document: Mapping[str, Any]) -> str:
    """What to run, so that the same bytes can be brought back: the manifest's digest where the image came from a
    registry, else the image's id."""
    for digest in document.get("RepoDigests") or ():
        known = parse_reference(digest)
        if (known.registry, known.repository) == (reference.registry, reference.repository):
            return str(digest)
    return str(document["Id"])


class Images:
    """Pulls are bounded, and shared by all who want the same image."""

    def __init__(self, client: DockerClient, settings: DockerSettings) -> None:
        self._client = client
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.pulls_at_once)
        self._pulls: dict[tuple[str, str | None], _Pull] = {}

    async def prepare(self, docker: Docker, image: str | None, progress: Progress) -> str:
        """See port Engine."""
        wanted = image or docker.image
        if image is not None or not docker.force_pull_image:
            if (document := await self._inspect(wanted)) is not None:
                progress(f"image {docker.image} is present")
                return image or resolved_image(parse_reference(wanted), document)
            if wanted.startswith("sha256:"):
                raise Rejected(
                    f"image {docker.image} as it was when the version was made ({wanted[:19]}…) is not on this "
                    "machine, and it came from no registry",
                    todo="Load or build it again and deploy a new version",
                )
        await self._pull(wanted, docker, progress)
        document = await self._inspect(wanted)
        if document is None:
            raise Rejected(f"image {wanted} was pulled and is gone again", retry_seconds=PULL_RETRY_SECONDS)
        return image or resolved_image(parse_reference(wanted), document)

    async def close(self) -> None:
        tasks = [pull.task for pull in self._pulls.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _inspect(self, image: str) -> Mapping[str, Any] | None:
        try:
            return await self._client.inspect_image(image)
        except DockerRefused as error:
            if error.status == 404:
                return None
            if error.status == 400:
                raise Rejected(f"image {image}: {error.message}", todo="Correct the image's name") from error
            raise Unavailable(f"Docker cannot tell about image {image}: {error.message}") from error
        except DockerUnavailable as error:
            raise Unavailable(str(error)) from error

    async def _pull(self, image: str, docker: Docker, progress: Progress) -> None:
        secret = docker.pull_config.secret if docker.pull_config else None
        pull = self._pulls.get((image, secret))
        if pull is None:
            pull = self._pulls[image, secret] = _Pull(self._client, self._settings, self._slots, image, secret)
            pull.task.add_done_callback(lambda task: self._pulled((image, secret), task))
        pull.listeners.append(progress)
        try:
            # One caller that gives up does not take the image from the others.
            await asyncio.shield(pull.task)
        finally:
            pull.listeners.remove(progress)

    def _pulled(self, key: tuple[str, str | None], task: asyncio.Task[None]) -> None:
        del self._pulls[key]
        if not task.cancelled():
            task.exception()  # whoever still waits hears of it; if nobody does, nobody needs to


class _Pull:
    """One pull under way, with everybody who wants to hear of it."""

    def __init__(
        self, client: DockerClient, settings: DockerSettings, slots: asyncio.Semaphore, image: str, secret: str | None
    ) -> None:
        self.listeners: list[Progress] = []
        self._client = client
        self._settings = settings
        self._image = image
        self._secret = secret
        self._layers: dict[str, tuple[int, int, bool]] = {}
        self._told_at = 0.0
        self.task = asyncio.create_task(self._run(slots), name=f"pull {image}")

    async def _run(self, slots: asyncio.Semaphore) -> None:
        reference = parse_reference(self._image)
        credentials = find_credentials(self._settings, reference, self._secret) if self._secret else None
        if slots.locked():
            self._tell(f"waiting for other pulls before {self._image}")
        async with slots:
            self._tell(f"pulling {self._image}")
            try:
                async for line in self._client.pull_image(reference.name, reference.tag, credentials):
                    if "error" in line:
                        raise self._failure(str(line["error"]))
                    self._count(line)
            except DockerRefused as error:
                raise self._failure(error.message) from error
            except DockerUnavailable as error:
                raise Unavailable(str(error)) from error
        self._tell(f"pulled {self._image}")

    def _failure(self, reason: str) -> Rejected:
        # The engine tells a registry's no and an unreachable registry in one way, so trying again may always help.
        usual = "Check the image's name, that its registry can be reached from this machine, and `pullConfig`"
        todo = todo_for(reason, usual)
        return Rejected(f"cannot pull {self._image}: {reason}", todo=todo, retry_seconds=PULL_RETRY_SECONDS)

    def _count(self, line: Mapping[str, Any]) -> None:
        layer, status = line.get("id"), str(line.get("status", ""))
        if layer is None or status.startswith("Pulling from"):
            return
        done, size, complete = self._layers.get(layer, (0, 0, False))
        if status == "Downloading":
            detail = line.get("progressDetail") or {}
            done, size = int(detail.get("current", done)), int(detail.get("total", size))
        elif status in ("Download complete", "Extracting"):
            done = size
        elif status in ("Pull complete", "Already exists"):
            done, complete = size, True
        self._layers[layer] = (done, size, complete)
        if complete or time.monotonic() - self._told_at >= PROGRESS_SECONDS:
            layers = self._layers.values()
            ready = sum(complete for _, _, complete in layers)
            text = f"pulling {self._image}: {ready} of {len(layers)} layers"
            if total := sum(size for _, size, _ in layers):
                text += f", {sum(done for done, _, _ in layers) // MIB} of {total // MIB} MiB"
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._told_at = time.monotonic()
        for listener in tuple(self.listeners):
            listener(text)


def find_credentials(settings: DockerSettings, reference: Reference, secret: str) -> dict[str, str]:
    """The entry `secret` of the Docker configuration that the settings name. Raises Rejected; no message has a secret.

    An entry is sent only to the registry it is named after: an app cannot carry it elsewhere by its image's name.
    """
    if settings.credentials is None:
        raise Rejected(
            f"pull credentials {secret!r} are asked for, but this machine has none",
            todo="Name a Docker config.json in the setting `credentials`",
        )
    todo = f"Run `docker login {secret}` with that configuration"
    try:
        entries = json.loads(settings.credentials.read_bytes())["auths"]
        entry = entries[secret]
    except OSError as error:
        raise Rejected(f"cannot read the Docker configuration {settings.credentials}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError):
        raise Rejected(f"{settings.credentials} has no entry {secret!r} in `auths`", todo=todo) from None
    host = secret.removeprefix("https://").removeprefix("http://").partition("/")[0]
    host = DEFAULT_REGISTRY if host in DEFAULT_REGISTRY_ENTRIES else host
    if host != reference.registry:
        raise Rejected(
            f"pull credentials {secret!r} are for {host}, but {reference.name} comes from {reference.registry}",
            todo="Name the entry of the image's own registry in `pullConfig.secret`",
        )
    fields = ("username", "password", "identitytoken", "registrytoken")
    credentials = {name: str(entry[name]) for name in fields if name in entry} | {"serveraddress": secret}
    if "auth" in entry:
        # The command line keeps both in one; the engine wants them apart.
        try:
            credentials["username"], _, credentials["password"] = (
                b64decode(entry["auth"], validate=True).decode().partition(":")
            )
        except ValueError:
            raise Rejected(f"entry {secret!r} of {settings.credentials} is damaged", todo=todo) from None
    return credentials
