"""admission: what may be deployed. It is asked before anything is stored, and again before anything reaches an engine.

Docker keeps containers apart as long as nobody opens the walls; the rules name the openings. Pure: the policy is what
the operator has chosen, and overrides are what he lets through, each with who and why.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from urllib.parse import unquote, urlsplit

from coldchain.decisions import host_path
from coldchain.decisions.docker_options import Host, Objection, mount_objection, objection
from coldchain.model.app import App, Container, Fetch
from coldchain.model.base import Noun
from coldchain.model.errors import Problem
from coldchain.model.version import Override, Version

RULES = {
    "capabilities": "Capabilities beyond Docker's default set, and NET_RAW",
    "devices": "Devices of the machine",
    "docker-option": "Options of `docker run` that admission does not know",
    "docker-socket": "The socket of Docker, containerd, CRI-O or Podman as a volume",
    "fetch-address": "`fetch` from `file:` outside the folders of the operator, or from a link-local address",
    "host-namespace": "The pid, ipc, uts, user or cgroup namespace of the machine or of another container",
    "host-path": "Folders of the machine's own as volumes, whatever is above or below them, and Coldchain's data",
    "limits": "No limit of processes, memory or swap, and others killed first when memory is out",
    "log-driver": "Logs sent where the app says",
    "mount-propagation": "Volumes whose mounts pass to or from the machine",
    "privileged": "Privileged containers",
    "restricted-capabilities": "Restricted: all capabilities dropped, none added but NET_BIND_SERVICE",
    "restricted-container": "Restricted: every app in a container",
    "restricted-image": "Restricted: images by digest",
    "restricted-read-only": "Restricted: the image's files cannot be written",
    "restricted-user": "Restricted: a user, given as a number, who is not root",
    "restricted-volumes": "Restricted: volumes only from the folders of the operator",
    "root-task": "Apps without a container that run as root",
    "runtime": "Runtimes that are not known to keep containers apart",
    "security-profile": "seccomp, AppArmor, SELinux or no-new-privileges changed or off",
    "sysctl": "Settings of the kernel that are not each container's own",
    "volume-option": "Volumes in a form that could be a folder of the machine in disguise",
}
"""Every rule, and what it keeps out."""

FIXED = {
    "docker-option": "no override helps: the docker runner does not know the option",
    "fetch-address": "no override helps: the operator names folders with --fetch-folder",
    "root-task": "no override helps: the operator allows it with --allow-root-tasks",
}
"""Rules that the runners keep themselves."""

LINK_LOCAL_NAMES = frozenset({"metadata", "metadata.google.internal"})


class Policy(Noun, frozen=True, kw_only=True):
    """What the operator has chosen. The rules that restrict hold for `restricted` groups and all below them; `/` is
    every app. `overrides`: whether a rule can be overridden; only admins may."""

    protected: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    restricted_volumes: tuple[str, ...] = ()
    root_tasks: bool = False
    fetch_folders: tuple[str, ...] = ()
    overrides: bool = True

    @property
    def host(self) -> Host:
        return Host(protected=self.protected, sockets=self.sockets)

    def restricts(self, app_id: str) -> bool:
        """True for apps of a restricted group; `/shop-2` is not one of `/shop`."""
        return any(host_path.is_within(app_id, host_path.normal(group)) for group in self.restricted)


class Refusal(Noun, frozen=True, kw_only=True):
    """One thing in a definition that a rule keeps out: where, why, and what to do."""

    rule: str
    path: str
    reason: str
    todo: str

    def __str__(self) -> str:
        return f"refused by the rule {self.rule}: {self.reason}. {self.todo}"

    def problem(self) -> Problem:
        return Problem(path=self.path, reason=str(self))


def judge(app: App, policy: Policy) -> tuple[Refusal, ...]:
    """All that the policy refuses in an app."""
    found = [*_process(app, policy)] if app.container is None else [*_container(app.container, policy)]
    if app.resource_limits is not None and app.resource_limits.mem == "unlimited":
        reason = "unlimited memory takes that of the whole machine"
        found += _of("/resourceLimits/mem", Objection("limits", reason, "Give a number, or leave it out"))
    if policy.restricts(app.id):
        found += _restricted(app, policy)
    return tuple(found)


def standing(refusals: Iterable[Refusal], overrides: Collection[Override]) -> list[Refusal]:
    """The refusals that no override lets through."""
    overruled = {one.rule for one in overrides} - FIXED.keys()
    return [one for one in refusals if one.rule not in overruled]


def needed(refusals: Iterable[Refusal], overrides: Sequence[Override]) -> tuple[Override, ...]:
    """The overrides without which something would be refused, the last of each rule: those that go on record."""
    rules = {one.rule for one in refusals}
    latest = {one.rule: one for one in overrides if one.rule in rules}
    return tuple(latest[rule] for rule in sorted(latest))


def with_overrides(cause: str, version: Version | None) -> str:
    """The cause of a deployment, with the overrides that it goes by."""
    for one in version.overrides if version is not None else ():
        cause += f"; the rule {one.rule} overridden by {one.caller}: {one.because}"
    return cause


def misused(overrides: Iterable[Override], policy: Policy) -> Iterator[Problem]:
    """What is wrong with the overrides that somebody asks for."""
    for one in overrides:
        if one.rule not in RULES:
            near = get_close_matches(one.rule, RULES, n=1)
            yield Problem(
                path="/override", reason=f"no rule is called {one.rule!r}", suggestion=near[0] if near else None
            )
        elif one.rule in FIXED:
            yield Problem(path="/override", reason=f"{one.rule}: {FIXED[one.rule]}")
        if not policy.overrides:
            yield Problem(path="/override", reason=f"{one.caller} may not override a rule; here nobody may")
        if not one.because.strip():
            yield Problem(path="/because", reason="an override needs a reason, which goes on record")


def _of(path: str, why: Objection | None) -> Iterator[Refusal]:
    if why is not None:
        yield Refusal(rule=why.rule, path=path, reason=why.reason, todo=f"{why.todo}.")


def _container(container: Container, policy: Policy) -> Iterator[Refusal]:
    docker = container.docker
    if docker.privileged:
        reason = "a privileged container is root of the machine"
        yield from _of("/container/docker/privileged", Objection("privileged", reason, "Leave it out"))
    for position, parameter in enumerate(docker.parameters):
        where = f"/container/docker/parameters/{position}"
        yield from _of(where, objection(parameter.key, parameter.value, policy.host))
    for position, volume in enumerate(container.volumes):
        yield from _of(f"/container/volumes/{position}/hostPath", mount_objection(volume.host_path, policy.host))


def _process(app: App, policy: Policy) -> Iterator[Refusal]:
    if app.user in ("root", "toor", "0") and not policy.root_tasks:
        reason = "it could change everything on the machine, Coldchain included"
        yield from _of("/user", Objection("root-task", reason, f"Name another user; {FIXED['root-task']}"))
    for position, fetch in enumerate(app.fetch):
        yield from _of(f"/fetch/{position}/uri", _fetch(fetch, policy))


def _fetch(fetch: Fetch, policy: Policy) -> Objection | None:
    try:
        parts = urlsplit(fetch.uri)
        host = (parts.hostname or "").rstrip(".")
    except ValueError as error:
        return Objection("fetch-address", f"the address cannot be read: {error}", "Correct it")
    if parts.scheme.lower() == "file":
        path = host_path.normal(unquote(parts.path))
        if any(host_path.is_within(path, host_path.normal(folder)) for folder in policy.fetch_folders):
            return None
        return Objection(
            "fetch-address", f"{path} would be read as root", f"Serve it by HTTP; {FIXED['fetch-address']}"
        )
    if host.lower() in LINK_LOCAL_NAMES or _is_link_local(host):
        return Objection("fetch-address", f"{host} gives out what the machine knows of itself", "Fetch from elsewhere")
    return None


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_link_local
    except ValueError:
        return False


def _restricted(app: App, policy: Policy) -> Iterator[Refusal]:
    container = app.container
    if container is None:
        reason = "the group is restricted, and nothing keeps a process from the rest of its machine"
        yield from _of("/container", Objection("restricted-container", reason, "Give `container.docker.image`"))
        return
    if "@sha256:" not in container.docker.image and not container.docker.image.startswith("sha256:"):
        reason = f"the group is restricted, and {container.docker.image} may be another image tomorrow"
        why = Objection("restricted-image", reason, "Write it with its digest: NAME@sha256:…")
        yield from _of("/container/docker/image", why)
    given: dict[str, list[str]] = {}
    for parameter in container.docker.parameters:
        given.setdefault(parameter.key, []).append(parameter.value.strip())
    where = "/container/docker/parameters"
    yield from _of(where, _restricted_user(given.get("user", [app.user] if app.user else ())))
    yield from _of(where, _restricted_capabilities(given))
    if set(given.get("read-only", ["false"])) - {"", "true"}:
        reason = "the group is restricted, and the image's files could be written"
        why = Objection(
            "restricted-read-only", reason, 'Add {"key": "read-only", "value": "true"}, and tmpfs for the rest'
        )
        yield from _of(where, why)
    yield from _restricted_volumes(container, policy)


def _restricted_user(users: Collection[str]) -> Objection | None:
    if users and all(user.partition(":")[0].isascii() and _is_above_zero(user.partition(":")[0]) for user in users):
        return None
    reason = "the group is restricted, and the container may run as root"
    return Objection(
        "restricted-user", reason, 'Add {"key": "user", "value": "1000"}: a number, because names are the image\'s'
    )


def _is_above_zero(text: str) -> bool:
    return text.isdigit() and int(text) > 0


def _restricted_capabilities(given: dict[str, list[str]]) -> Objection | None:
    added = {one.upper().removeprefix("CAP_") for one in given.get("cap-add", ())} - {"NET_BIND_SERVICE"}
    if added:
        reason = f"the group is restricted, and {', '.join(sorted(added))} would be added"
        return Objection("restricted-capabilities", reason, "Add none but NET_BIND_SERVICE")
    if "ALL" in {one.upper().removeprefix("CAP_") for one in given.get("cap-drop", ())}:
        return None
    reason = "the group is restricted, and the container keeps Docker's capabilities"
    return Objection("restricted-capabilities", reason, 'Add {"key": "cap-drop", "value": "ALL"}')


def _restricted_volumes(container: Container, policy: Policy) -> Iterator[Refusal]:
    sources = [(f"/container/volumes/{n}/hostPath", one.host_path) for n, one in enumerate(container.volumes)]
    sources += [
        (f"/container/docker/parameters/{n}", one.value.partition(":")[0])
        for n, one in enumerate(container.docker.parameters)
        if one.key == "volume" and one.value.startswith("/") and ":" in one.value
    ]
    for path, source in sources:
        plain = host_path.normal(source)
        if not any(host_path.is_within(plain, host_path.normal(folder)) for folder in policy.restricted_volumes):
            may = ", ".join(policy.restricted_volumes) or "none"
            reason = f"the group is restricted, and {plain} is not in a folder that it may mount ({may})"
            yield from _of(path, Objection("restricted-volumes", reason, "Use one of them, or a named volume"))
