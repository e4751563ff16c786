"""schemathesis against the OpenAPI document: every answer of a served controller is one that the document has.

`grounded` cases name what is there and ask for what can be done, `positive` ones are anything that the document allows,
`negative` ones anything that it does not, `boundary` ones stand at the limits of what it says; the rest follows links.
What is wrong is gathered, not raised: a served platform is never the same twice, so that nothing can be shrunk.
Each run asks the same 2,000, so that what fails is the change at hand; `--long` asks others each time, and `--seed`
says which.
"""

import asyncio
import contextlib
import math
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any, TypeVar

import hypothesis
import pytest
import requests
import schemathesis
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Flaky, Unsatisfiable
from schemathesis import Case
from schemathesis import GenerationMode as Mode  # their word
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from coldchain.api.settings import ApiSettings
from coldchain.decisions.brake import Brake
from coldchain.testing.drawn_definition import definition
from coldchain.testing.gateway_grounds import GATEWAY_OPERATIONS, prepare_gateway
from coldchain.testing.network_grounds import OPERATIONS, prepare_network
from coldchain.testing.served_platform import ServedPlatform

T = TypeVar("T")

EXCLUDED = {
    "followEvents": "an answer without an end; tests/unit/test_api_streams.py",
    "runCommand": "a WebSocket; tests/unit/test_api_session.py",
}
"""Not asked here: why, and where they are tested."""
ANSWERS_MIN = 20
"""Of every operation, that it did what it was asked for."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
REFUSALS = [400, 401, 403, 404, 405, 409, 413, 422]
"""How what must not be is refused."""
SHARES = {"grounded": 0.55, "positive": 0.12, "negative": 0.1, "boundary": 0.1}
"""Of all cases; the rest follows links."""
APPS = ("/web", "/shop/cart", "/shop/stock", "/bills/night")
NEVER = {"healthChecks": [{"path": "/"}], "env": {"HEALTH": "never"}}


class Grounds:
    """A served platform in a thread of its own, and what cases need there: `prepare` has a way for every operation
    that needs one, and makes the case ask for something that can be done."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.platform = ServedPlatform(ApiSettings(down=lambda: None))
        # Hypothesis watches the random numbers that all share; the platform's thread would draw meanwhile.
        self.platform.clock.random = Random(0).random  # type: ignore[method-assign]
        self.session = requests.Session()
        self.session.trust_env = False
        self.made = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def look(self, found: Callable[[], T]) -> T:
        """Something of the platform, looked up in its own thread."""

        async def inside() -> T:
            return found()

        return self.do(inside())

    @property
    def state(self) -> Any:
        return self.platform.controller.state

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(method, self.platform.url + path, json=body, timeout=10)
        assert answer.status_code < 300, (method, path, body, answer.text)
        return answer.json() if answer.content else None

    def free(self) -> None:
        """Nothing that was asked for before keeps a rollout from going on."""
        self.look(lambda: setattr(self.platform.controller.reconciler, "brake", Brake()))
        for method in ("POST", "DELETE"):
            self.ask(method, "/v1/agents/agent-1/drain")

    def put_text(self, path: str, text: str) -> None:
        self.session.put(self.platform.url + path, data=text, timeout=10).raise_for_status()

    # What is there to be asked for; links may lead to its end, so it is looked at each time

    def app_id(self, random: Random) -> str:
        """Of an app that is there."""
        return self.there(random.choice(APPS))

    def there(self, app_id: str, **more: Any) -> str:
        """Its id without the first slash."""
        if self.look(lambda: self.state.wanted(app_id)) is None:
            whole = definition(Random(app_id), app_id) | {"instances": 2} | more
            self.ask("PUT", f"/v2/apps{app_id}?force=true", whole)
        return app_id[1:]

    def furnish(self) -> None:
        """Apps that serve, one that always fails, one that fits nowhere, and one that others run."""
        token = self.ask("POST", "/v1/tokens", {"name": "all", "role": "admin"})["token"]
        self.session.headers["Authorization"] = f"Bearer {token}"
        for app_id in APPS:
            self.there(app_id)
        self.there("/failing", env={"EXIT": "1"}, backoffSeconds=300, instances=1)
        self.there("/large", cpus=9000)
        self.ask("PUT", "/v2/apps/external", {"instances": 0, "service": "theirs"})

    def task(self, random: Random) -> Any:
        """An instance that has a task."""

        def running() -> list[Any]:
            known = [one for name in APPS for one in self.state.instances_of.get(name, {}).values()]
            return [one for one in known if one.phase in ("starting", "entering", "serving")]

        self.app_id(random)
        for _ in range(200):
            if found := self.look(running):
                return random.choice(found)
            self.do(asyncio.sleep(0.02))
        raise AssertionError("no task runs")

    def deployment(self, **more: Any) -> str:
        """One that does not end by itself."""
        self.made += 1
        well = definition(Random(4), "/held") | {"instances": 1}
        self.ask("PUT", "/v2/apps/held?force=true", well)
        ill = well | NEVER | {"labels": {"made": str(self.made)}} | more
        return str(self.ask("PUT", "/v2/apps/held?force=true", ill)["deploymentId"])

    def prepare(self, case: Case, random: Random) -> None:
        """Make it one that can be done."""
        case.query = {
            one.name: random.sample(known, random.randrange(len(known) + 1))
            for one in case.operation.query
            if one.name == "embed" and (known := one.definition["schema"]["items"]["examples"])
        }
        path: dict[str, Any] = {}
        match name := name_of(case.operation):
            case "createApp":
                self.made += 1
                case.body = definition(random, f"/made/app-{self.made}")
            case "deleteApp":
                self.made += 1
                self.ask("POST", "/v2/apps", definition(random, f"/gone/app-{self.made}"))
                path, case.query = {"app_id": f"gone/app-{self.made}"}, {"force": True}
            case "putApp" | "patchApp":
                app_id = self.app_id(random)
                whole = definition(random, f"/{app_id}")
                changed = random.sample(sorted(whole.keys() - {"readinessChecks", "args"}), random.randrange(1, 4))
                path, case.query = {"app_id": app_id}, {"force": True}
                case.body = {"instances": 2} | {one: whole[one] for one in changed if one != "instances"}
                if name == "putApp" and random.random() < 0.3:
                    case.body, case.query = whole, {"force": True, "partialUpdate": False}
            case "restartApp":
                path, case.query = {"app_id": self.app_id(random)}, {"force": True}
            case "rollBack":
                app_id = self.app_id(random)
                versions = self.ask("GET", f"/v2/apps/{app_id}/versions")["versions"]
                path, case.query, case.body = {"app_id": app_id}, {"force": True}, {"version": random.choice(versions)}
            case "previewApp":
                app_id = self.app_id(random)
                path, case.body = {"app_id": app_id}, definition(random, f"/{app_id}")
            case "showVersion":
                app_id = self.app_id(random)
                versions = self.ask("GET", f"/v2/apps/{app_id}/versions")["versions"]
                path = {"app_id": app_id, "version": random.choice(versions)}
            case "deleteAppTasks" | "deleteTasks" | "deleteAppTask":
                task = self.task(random)
                path = {"app_id": task.app_id[1:], "task_id": task.task_id}
                if name == "deleteAppTasks":
                    case.query = {"host": random.choice(["*", task.agent, "elsewhere"])}
                if name == "deleteTasks":
                    case.body = {"ids": [task.task_id, "none"]}
            case "resetDelay" | "showBundle":  # a bundle of many versions takes longer to check than all other answers
                path = {"app_id": self.there("/large", cpus=9000)}
            case "showStory":
                path = {"instance_id": self.task(random).id}
            case "showDeployment":
                path = {"deployment_id": random.choice(self.look(lambda: sorted(self.state.deployments)))}
            case "cancelDeployment":
                path, case.query = {"deployment_id": self.deployment()}, {"force": random.random() < 0.5}
            case "pauseDeployment":
                path = {"deployment_id": self.deployment()}
            case "resumeDeployment":
                path = {"deployment_id": self.deployment()}
                self.ask("POST", f"/v1/deployments/{path['deployment_id']}/pause")
            case "promoteDeployment":
                path = {"deployment_id": self.deployment(rollout={"steps": [{"share": 0.5}]}, instances=2)}
            case "releaseBrake":
                reconciler = self.platform.controller.reconciler
                self.look(lambda: setattr(reconciler, "brake", Brake(reason="many went bad", since=1.0)))
            case "drainAgent" | "useAgent":
                # Taken back at once: else nothing of what follows has a place.
                path = {"agent": "agent-1"}
                self.free()
                if name == "useAgent":
                    self.ask("POST", "/v1/agents/agent-1/drain")
            case "setSecret":
                path, case.body = {"secret": random.choice(["database", "key.1"])}, random.choice(["x", "ä b"])
            case "deleteSecret":
                self.put_text("/v1/secrets/old", "x")
                path = {"secret": "old"}
            case "readLogs":
                path = {"app_id": self.app_id(random)}
                case.query = {"tail": 3, "format": random.choice(["json", "text"])}
            case _ if name in GATEWAY_OPERATIONS:
                self.made += 1
                self.free()
                path, sent = prepare_gateway(self.ask, self.put_text, name, self.made)
                case.body = case.body if sent is None else sent
            case _ if "{app_id}" in case.operation.path:
                path = {"app_id": self.app_id(random)}
            case _:
                path = self.prepare_others(name, case, random)
        wanted = {one.name for one in case.operation.path_parameters}
        case.path_parameters = {one: value for one, value in path.items() if one in wanted}

    def prepare_others(self, name: str, case: Case, random: Random) -> dict[str, Any]:
        """As `prepare`, for groups and callers; what its path needs."""
        self.made += 1
        group_id, app_id = f"team/g-{self.made}", self.app_id(random)
        body = {"apps": [definition(random, "one")], "groups": [{"id": "two", "apps": []}]}
        token, force = {"name": f"t-{self.made}", "role": "viewer"}, {"force": True}
        match name:
            case "putApps" | "patchApps":
                case.query, case.body = force, [definition(random, f"/{app_id}") | {"readinessChecks": None}]
            case "showGroup" | "listGroupApps" | "listGroupVersions":
                self.there("/shop/cart")
                return {"group_id": "shop"}
            case "showRootVersion" | "showGroupVersion" | "putGroupVersion":
                self.there("/shop/cart")
                case.query = force if name == "putGroupVersion" else {}
                within = "" if name == "showRootVersion" else "/shop"
                return {"group_id": "shop", "version": random.choice(self.ask("GET", f"/v2/groups{within}/versions"))}
            case "createGroup" | "putRoot":
                case.body = body | {"id": f"/{group_id}"}
            case "createGroupAt" | "putGroup":
                case.body = body
                if name == "putGroup":
                    case.query = {"dryRun": random.random() < 0.3}
            case "deleteGroup":
                self.ask("POST", f"/v2/groups/{group_id}", body)
                case.query = force
            case "deleteRoot":
                case.query = force
            case "exchangeWithGateway":
                gateway = self.platform.gateway.name
                case.query, case.body = {"wait": 0.1}, {"gateway": gateway, "applied": 0}
                return {"gateway": gateway}
            case _ if name in OPERATIONS:
                nodes = self.platform.controller.nodes
                path, sent = prepare_network(self.ask, lambda one: self.do(nodes.join(one)), name, self.made)
                case.body = case.body if sent is None else sent
                return path
            case "createToken":
                case.body = token
            case "revokeToken":
                self.ask("POST", "/v1/tokens", token)
        return {"group_id": group_id, "name": token["name"]}


@pytest.fixture
def incidents() -> Iterator[dict[str, str]]:
    """The tracebacks of the platform's internal errors, by the id that callers are told."""
    found: dict[str, str] = {}

    def keep(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if "incident" in event:
            found[event["incident"]] = traceback.format_exc()
            event.pop("exc_info")  # shown once, beside the case
        return event

    structlog.configure(processors=[keep, *structlog.get_config()["processors"]])
    yield found
    structlog.reset_defaults()


@pytest.fixture
def grounds() -> Iterator[Grounds]:
    grounds = Grounds()
    grounds.thread.start()
    try:
        grounds.do(grounds.platform.start())
        grounds.furnish()
        yield grounds
        grounds.session.close()
        grounds.do(grounds.platform.stop())
        grounds.do(grounds.platform.engine.close())
    finally:
        grounds.loop.call_soon_threadsafe(grounds.loop.stop)
        grounds.thread.join()
        grounds.loop.close()


def name_of(operation: Any) -> str:
    """Its id in the document."""
    return str(operation.definition.raw["operationId"])


class Run:
    """Asks, checks and counts."""

    def __init__(self, grounds: Grounds, incidents: dict[str, str]) -> None:
        self.grounds = grounds
        self.incidents = incidents
        self.statuses: dict[str, Counter[int]] = {}
        self.kinds: Counter[str] = Counter()
        self.failures: dict[str, str] = {}

    def ask(self, case: Case, kind: str) -> Any:
        name = name_of(case.operation)
        if name == "readLogs" and case.query:
            case.query = {one: value for one, value in case.query.items() if one != "follow"}
        if str((case.path_parameters or {}).get("group_id", "")).strip("/") in OTHER_ADDRESSES:
            case.path_parameters["group_id"] = "other"
        answer = case.call(base_url=self.grounds.platform.url, session=self.grounds.session, timeout=30)
        self.statuses.setdefault(name, Counter())[answer.status_code] += 1
        self.kinds[kind] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as found:
            for failure in found.exceptions:
                what = f"{name} {answer.status_code} {failure.title}"
                traces = [trace for name, trace in self.incidents.items() if name in answer.text]
                self.failures.setdefault(what, "\n".join([str(failure), found.args[0][-1500:], *traces]))
        return answer

    @property
    def total(self) -> int:
        return self.kinds.total()


def chosen(**more: Any) -> settings:
    return settings(phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck), **more)


def ask_grounded(run: Run, operation: Any, kind: str, number: int, seed: int) -> None:
    """So many cases of an operation that can be done."""
    random = Random(seed)
    for _ in range(number):
        case = operation.Case(media_type=next((one.media_type for one in operation.body), None))
        run.grounds.prepare(case, random)
        run.ask(case, kind)


def draw_cases(run: Run, operation: Any, kind: str, number: int, seed: int) -> None:
    """So many cases of an operation."""

    @hypothesis.seed(seed)
    @chosen(max_examples=number)
    @given(case=operation.as_strategy(Mode.NEGATIVE if kind == "negative" else Mode.POSITIVE))
    def each(case: Case) -> None:
        run.ask(case, kind)

    # A path of any text has nothing that the document does not allow.
    with contextlib.suppress(Unsatisfiable) if kind == "negative" else contextlib.nullcontext():
        each()


def ask_boundaries(run: Run, operation: Any, kind: str, number: int, seed: int) -> None:
    """So many of the cases that schemathesis makes one by one; there are fewer for simple operations."""
    configuration = operation.schema.config.generation_for(operation=operation)  # their word
    chosen = {"generation_modes": list(Mode), "generation_config": configuration}  # their word
    cases = list(operation.schema.iter_coverage_cases(operation, **chosen))
    for case in Random(seed).sample(cases, min(number, len(cases))):
        run.ask(case, kind)


def follow_links(run: Run, schema: Any, seed: int) -> None:
    """Some walks along the links."""

    class Machine(schema.as_state_machine()):  # type: ignore[misc]
        walks = 0

        def setup(self) -> None:
            Machine.walks += 1
            self.random = Random(f"{seed} {Machine.walks}")

        def step(self, input: Any) -> Any:  # noqa: A002 -- the name of the parameter in schemathesis
            self.linked = input.is_applied
            return super().step(input)

        def before_call(self, case: Case) -> None:
            if not self.linked:
                run.grounds.prepare(case, self.random)

        def call(self, case: Case, **more: Any) -> Any:
            return run.ask(case, "linked" if self.linked else "root")

        def validate_response(self, *given: Any, **more: Any) -> None:
            """Done where it was asked."""

    machine = hypothesis.seed(seed)(Machine)
    machine.rule_order_seed = seed
    # What a link finds in an answer is never the same twice, so that a second walk on the same way may not be possible;
    # the next seed goes another way.
    with contextlib.suppress(Flaky):
        machine.run(settings=chosen(max_examples=20, stateful_step_count=8))


OTHER_ADDRESSES = ("apps", "versions")
"""Groups of these names cannot be asked for: those are addresses of the root's."""
EVERY_TIME = 9003
"""The seed of the cases that are asked in every run."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cases", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_every_answer_is_in_the_document(
    grounds: Grounds,
    incidents: dict[str, str],
    cases: int,
    first_seed: int,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    if not pytestconfig.getoption("--long") and pytestconfig.getoption("--seed") is None:
        first_seed = EVERY_TIME
    schema = schemathesis.openapi.from_dict(
        grounds.ask("GET", "/openapi.json"),
        config=schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}}),
    )
    everything = {name_of(one): one for one in (result.ok() for result in schema.get_all_operations())}
    operations = [one for name, one in everything.items() if name not in EXCLUDED]
    run = Run(grounds, incidents)
    for kind, share in SHARES.items():
        for position, operation in enumerate(operations):
            if kind == "negative" and not (operation.query or operation.path_parameters or operation.body):
                continue
            ask = {"grounded": ask_grounded, "boundary": ask_boundaries}.get(kind, draw_cases)
            number = math.ceil(cases * share / len(operations))
            least = ANSWERS_MIN + 4 if kind == "grounded" else 1
            ask(run, operation, kind, max(number, least), first_seed + position)
    walked, walks = schema.exclude(operation_id=[*EXCLUDED]), 0
    while run.total < cases or run.kinds["linked"] < cases // 20:
        walks += 1
        follow_links(run, walked, first_seed + walks)
    record_property("schemathesis", f"{run.total} cases {dict(run.kinds)}, --seed {first_seed}")
    if run.failures:  # said as it is: to compare texts of this size would take longer than all the cases
        pytest.fail("\n\n".join(f"{name}\n{text}" for name, text in run.failures.items()), pytrace=False)
    assert run.statuses.keys() == everything.keys() - EXCLUDED.keys()
    few = {}
    for name, statuses in run.statuses.items():
        able = any(status.startswith("2") for status in everything[name].definition.raw["responses"])
        if able and sum(number for status, number in statuses.items() if status // 100 == 2) < ANSWERS_MIN:
            few[name] = statuses
    assert few == {}
