"""The terms in which operations are described: what is asked, what is answered, and where an answer leads."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from coldchain.decisions.admission import RULES
from coldchain.documents.access_rules import CONSUMER_NAME
from coldchain.documents.answers import OWN as OWN_EMBED
from coldchain.documents.openapi.schemas import STRING, Schema, ref
from coldchain.documents.rules import SECRET_NAME
from coldchain.documents.text import SWITCHES

JSON, TEXT, LINES, EVENTS = "application/json", "text/plain", "application/x-ndjson", "text/event-stream"


class Parameter(NamedTuple):
    """What may be given beside the body."""

    name: str
    says: str
    schema: Schema = STRING
    place: Literal["query", "header"] = "query"


class Link(NamedTuple):
    """The operation that an answer leads to, with where in the answer its parameters are."""

    operation: str
    parameters: Mapping[str, str]


class Answer(NamedTuple):
    """One status. `content`: a schema, or its name, for each media type. `headers` by name, of HEADERS."""

    says: str
    content: Mapping[str, str | Schema] = {}
    headers: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


class Body(NamedTuple):
    """What is sent; schemas as in Answer. More than one schema: any of them."""

    schemas: tuple[str, ...] = ()
    text: Schema | None = None
    required: bool = True


class Operation(NamedTuple):
    """One address and method. `answers` by status, those of `fails` beside them, and those of ALWAYS.

    `id` names it in links and for generated clients. `endless`: the answer may have no end.
    """

    id: str
    method: str
    path: str
    says: str
    answers: Mapping[int, Answer]
    takes: tuple[Parameter, ...] = ()
    body: Body | None = None
    fails: tuple[int, ...] = ()
    endless: bool = False
    more: str = ""

    @property
    def tag(self) -> str:
        return TAGS_BY_PATH.get(self.path.split("/")[1], "controller")


TAGS = {
    "v2": "Marathon's API.",
    "v1": "What Marathon has not.",
    "controller": "What the controller says of itself.",
}
TAGS_BY_PATH = {"v1": "v1", "v2": "v2"}

HEADERS: Mapping[str, Schema] = {
    "Marathon-Deployment-Id": {"description": "The deployment that carries the change out.", "schema": STRING},
    "Location": {"description": "Where the new app is.", "schema": STRING},
    "Allow": {"description": "The methods that are possible.", "schema": STRING},
    "WWW-Authenticate": {"description": "How he can.", "schema": STRING},
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer", "minimum": 1}},
}

FAILURES: Mapping[int, Answer] = {
    400: Answer("No document, or a parameter that cannot be read.", {JSON: "MalformedMessage"}),
    401: Answer("Who asks must say who he is.", {JSON: "Message"}, ("WWW-Authenticate",)),
    429: Answer("Too many tried from there and failed.", {JSON: "Message"}, ("Retry-After",)),
    403: Answer(
        "The request names this machine by a foreign name, or comes from a page of another site.", {JSON: "Message"}
    ),
    404: Answer("There is no such thing.", {JSON: "Message"}),
    405: Answer("Not in this way.", {JSON: "Message"}, ("Allow",)),
    409: Answer("It is there already, or something stands in the way.", {JSON: "ConflictMessage"}),
    413: Answer("More than 1 MiB.", {JSON: "Message"}),
    422: Answer("It says something impossible, or admission refuses it.", {JSON: "InvalidMessage"}),
    500: Answer("Our fault; the message has an id, under which the log has the rest.", {JSON: "Message"}),
    503: Answer("A server that is needed does not answer.", {JSON: "Message"}, ("Retry-After",)),
}
ALWAYS = (401, 403, 429, 500, 503)
"""Every operation may fail so."""

PATH_PARAMETERS: Mapping[str, tuple[str, Schema]] = {
    "app_id": (
        "The app's id. It contains slashes: written as they are, or as %2F; with the first one or without.",
        STRING | {"minLength": 1},
    ),
    "task_id": ("The id of a task.", STRING | {"minLength": 1}),
    "version": ("One of the app's versions.", STRING | {"minLength": 1}),
    "deployment_id": ("The id of a deployment.", STRING | {"minLength": 1}),
    "instance_id": ("The id of an instance, or its beginning.", STRING | {"minLength": 1}),
    "group_id": ("The group's id, with its slashes as in an app's.", STRING | {"minLength": 1}),
    "name": ("The name of a token.", STRING | {"minLength": 1}),
    "agent": ("The name of an agent.", STRING),
    "node": ("The name of a node.", STRING | {"minLength": 1}),
    "peer": ("The name of a router of the data centre.", STRING | {"minLength": 1}),
    "gateway": ("The name of a gateway.", STRING),
    "consumer": ("The name of a consumer.", STRING | {"pattern": f"^{CONSUMER_NAME.pattern}$"}),
    "key": ("The id of one of his keys.", STRING | {"minLength": 1}),
    "pool": ("The name of a pool.", STRING | {"minLength": 1}),
    "network": ("The name of a network of containers.", STRING | {"minLength": 1}),
    "certificate": ("The name of a certificate.", STRING | {"pattern": f"^{SECRET_NAME.pattern}$"}),
    "secret": ("The name of a secret.", STRING | {"pattern": f"^{SECRET_NAME.pattern}$"}),
}


def flag(name: str, says: str) -> Parameter:
    """A switch; given without a value it is on."""
    return Parameter(name, says, {"type": "string", "enum": [*SWITCHES]})


def words(name: str, says: str, among: Iterable[str] = ()) -> Parameter:
    """Texts, one or several; where `among` is given only those."""
    return Parameter(name, says, {"type": "array", "items": STRING | ({"enum": list(among)} if among else {})})


def embed(says: str, known: Iterable[str]) -> Parameter:
    """What the answer shall have beside the rest. Names that nobody knows are passed over, as Marathon does."""
    return Parameter("embed", says, {"type": "array", "items": STRING | {"examples": list(known)}})


FORCE = flag("force", "Take the place of a deployment that still runs.")
OVERRIDES = (
    words("override", "A rule of admission to let this pass.", RULES),
    Parameter("because", "Why the rules are overridden.", STRING),
)
OWN = embed("`coldchain`: also the fields that only Coldchain has.", [OWN_EMBED])


def any_of(*names: str) -> Schema:
    """One of these schemas."""
    return {"anyOf": [ref(name) for name in names]}


def found(schema: str | Schema, says: str, *links: Link) -> dict[int, Answer]:
    """200 with a document."""
    return {200: Answer(says, {JSON: schema}, links=links)}


def begun(says: str, app_id: str = "$request.path.app_id") -> Answer:
    """The answer to a change: the deployment that carries it out."""
    return Answer(
        says,
        {JSON: "Begun"},
        ("Marathon-Deployment-Id",),
        (*of_deployment("$response.body#/deploymentId"), *of_app(app_id, "$response.body#/version")),
    )


def of_app(app_id: str, version: str | None = None) -> tuple[Link, ...]:
    """Where the id of an app leads."""
    names = (
        *("showApp", "putApp", "patchApp", "deleteApp", "restartApp", "listAppTasks", "deleteAppTasks"),
        *("listVersions", "resetDelay", "showAppStatus", "showHistory", "rollBack", "showBundle", "readLogs"),
    )
    links = tuple(Link(name, {"app_id": app_id}) for name in names)
    return links if version is None else (*links, Link("showVersion", {"app_id": app_id, "version": version}))


def of_deployment(deployment_id: str) -> tuple[Link, ...]:
    """Where the id of a deployment leads."""
    names = ("cancelDeployment", "showDeployment", "pauseDeployment", "resumeDeployment", "promoteDeployment")
    return tuple(Link(name, {"deployment_id": deployment_id}) for name in names)
