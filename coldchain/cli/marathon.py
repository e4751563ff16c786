"""marathon: reads a Marathon over its API: what it runs, nothing else. Heavy modules are imported by the first call.

What answers there may be anything: the size of an answer and the time it takes have limits, and credentials go to the
address that the user gave, never to another one it redirects to.
"""

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from coldchain.cli.errors import CommandError, Invalid, TimedOut, Unreachable, reason_of
from coldchain.cli.language import _

if TYPE_CHECKING:
    import aiohttp

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""Ten thousand apps need about half of it."""
CONNECT_SECONDS = 10.0
REDIRECTS_MAX = 5
NONE_OF_THESE = (404, 405, 501)
"""Statuses by which a Marathon says that it is too old to have pods, or groups."""


class Found(NamedTuple):
    """What a Marathon runs. `apps` as it answers them. `dependencies`: by the id of a group the ids it waits for.
    `changing`: ids of apps that a deployment is changing right now."""

    apps: list[Any]
    dependencies: dict[str, list[str]]
    pods: list[str]
    changing: list[str]


class Marathon:
    """One Marathon, or several that redirect to their leader. `credentials`: name and password of the user, if any."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        parts = _split(self.url)
        if parts is None or parts.query or parts.fragment:
            raise Invalid(_("{url} is no address", url=url), todo=_("Write it as http://marathon.example:8080."))
        if parts.username is not None or parts.password is not None:
            raise Invalid(_("the address has credentials in it"), todo=_("Leave them out, and give --user NAME."))
        self.credentials: tuple[str, str] | None = None
        self._timeout_seconds = timeout_seconds

    async def read(self) -> Found:
        """Everything. Raises CommandError."""
        import aiohttp

        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            info = await self._get(session, "/v2/info")
            if not isinstance(info, dict) or not ({"frameworkId", "marathon_config"} & info.keys()):
                raise self._stranger(_("`/v2/info` is not what a Marathon answers"))
            answer = await self._get(session, "/v2/apps")
            apps = answer.get("apps") if isinstance(answer, dict) else None
            if not isinstance(apps, list):
                raise self._stranger(_("`/v2/apps` is not what a Marathon answers"))
            groups = await self._get(session, "/v2/groups?embed=group.groups", optional=True)
            pods = await self._get(session, "/v2/pods", optional=True)
            deployments = await self._get(session, "/v2/deployments", optional=True)
        changing = [name for one in _objects(deployments) for name in _texts(one.get("affectedApps"))]
        ids = [str(one["id"]) for one in _objects(pods) if "id" in one]
        return Found(apps, _dependencies(groups), ids, sorted(set(changing)))

    async def _get(self, session: "aiohttp.ClientSession", path: str, *, optional: bool = False) -> Any:
        """The JSON answer; None where it is `optional` and there is no such thing."""
        import json

        import aiohttp

        try:
            status, kind, sent = await self._answer(session, self.url + path)
        except TimeoutError as error:
            words = _("{url} did not answer within {seconds} s", url=self.url + path, seconds=self._timeout_seconds)
            raise TimedOut(words, todo=_("Give it longer with --timeout.")) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(
                _("no Marathon answers at {url}", url=self.url),
                why=reason_of(error),
                todo=_("Give the address at which its /v2/info can be read."),
            ) from error
        if status in NONE_OF_THESE and optional:
            return None
        if status in (401, 403):
            raise self._locked(path, status)
        if status != 200:
            raise self._stranger(_("`{path}` gave status {status}", path=path, status=status))
        try:
            return json.loads(sent)
        except (ValueError, RecursionError):
            raise self._stranger(_("`{path}` gave {kind}, not JSON", path=path, kind=kind)) from None

    async def _answer(self, session: "aiohttp.ClientSession", url: str) -> tuple[int, str, bytes]:
        """Status, content type and body, behind redirects."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._timeout_seconds, sock_connect=CONNECT_SECONDS)
        for _redirect in range(REDIRECTS_MAX + 1):
            known = self.credentials if _origin(url) == _origin(self.url) else None
            headers = {"Accept": "application/json"} | (_authorization(*known) if known else {})
            async with session.get(url, headers=headers, timeout=timeout, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in (301, 302, 303, 307, 308) and location is not None:
                    url = urljoin(url, location)
                    if _split(url) is None:
                        raise self._stranger(_("it redirects to what is no address"))
                    continue
                return response.status, response.content_type, await self._body(response)
        raise self._stranger(_("it redirects more than {number} times", number=REDIRECTS_MAX))

    async def _body(self, response: "aiohttp.ClientResponse") -> bytes:
        sent = bytearray()
        async for chunk in response.content.iter_any():
            sent += chunk
            if len(sent) > ANSWER_BYTES_MAX:
                most = ANSWER_BYTES_MAX // 1024**2
                raise self._stranger(_("an answer is larger than {number} MiB", number=most))
        return bytes(sent)

    def _locked(self, path: str, status: int) -> CommandError:
        if self.credentials is None:
            return CommandError(
                _("{url} lets nobody read {path} without credentials", url=self.url, path=path),
                why=f"status {status}",
                todo=_("Give --user NAME; the password is asked for."),
            )
        return CommandError(
            _("{url} does not let {user} read {path}", url=self.url, user=self.credentials[0], path=path),
            why=f"status {status}",
            todo=_(
                "Mind user and password. They are not sent on where it redirects to: give the leader's own address."
            ),
        )

    def _stranger(self, why: str) -> Unreachable:
        return Unreachable(
            _("what answers at {url} cannot be read as a Marathon", url=self.url),
            why=why,
            todo=_("Give the address at which its /v2/info can be read."),
        )


def _split(url: str) -> Any:
    """The parts of an address of HTTP; None if it is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises where it is no number
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def _authorization(user: str, password: str) -> dict[str, str]:
    """Marathon knows basic authentication."""
    import base64

    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _dependencies(root: object) -> dict[str, list[str]]:
    """By the id of each group what it waits for."""
    found: dict[str, list[str]] = {}
    waiting = [root]
    while waiting:
        group = waiting.pop()
        if isinstance(group, dict):
            if names := _texts(group.get("dependencies")):
                found[str(group.get("id"))] = names
            waiting += group["groups"] if isinstance(group.get("groups"), list) else []
    return found


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
