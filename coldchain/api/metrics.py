"""metrics: `/metrics`, the controller's own numbers: for who asks for text in Prometheus's form, else in Marathon's."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from aiohttp import web

from coldchain._version import __version__
from coldchain.api.context import Context, context_of
from coldchain.api.exchange import HEADERS, answer
from coldchain.documents.keys import Record
from coldchain.documents.metrics import CONTENT_TYPE, Metric, render
from coldchain.model.deployment import Deployment, DeploymentState
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Phase
from coldchain.model.task import TaskFailure

MARATHONS = {
    "coldchain.apps": "marathon.apps.active.gauge",
    "coldchain.deployments_running": "marathon.deployments.active.gauge",
    "coldchain.instances.launching": "marathon.instances.staged.gauge",
    "coldchain.instances.serving": "marathon.instances.running.gauge",
    "coldchain.tasks_failed_total": "marathon.tasks.failed.counter",
}
"""What is known under another name to who watches a Marathon."""


class Counters:
    """What happened since this controller started; `committed` is for State.on_commit."""

    def __init__(self) -> None:
        self.commits = 0
        self.failed_tasks = 0
        self.ended_deployments: Counter[str] = Counter()

    def committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        self.commits += 1
        for _, after in pairs:
            if isinstance(after, TaskFailure):
                self.failed_tasks += 1
            elif isinstance(after, Deployment | GroupDeployment) and not after.running and not _is_member(after):
                self.ended_deployments[after.state] += 1


def _is_member(move: Deployment | GroupDeployment) -> bool:
    """True for what is counted with the group deployment that it is part of."""
    return isinstance(move, Deployment) and move.part_of is not None


COUNTERS = web.AppKey("counters", Counters)


def collect(context: Context, counters: Counters) -> list[Metric]:
    """The numbers of this moment."""
    controller = context.controller
    state = controller.state
    phases = Counter(one.phase for one in state.instances.values())
    live = {one.gateway for one in controller.publisher.live()}

    def one(value: float) -> dict[tuple[tuple[str, str], ...], float]:
        return {(): value}

    return [
        Metric("coldchain_info", "gauge", "Version of the controller.", {(("version", __version__),): 1}),
        Metric("coldchain_apps", "gauge", "Apps that are wanted.", one(len(state.apps))),
        Metric(
            "coldchain_instances",
            "gauge",
            "Instances on record by phase.",
            {(("phase", phase),): phases[phase] for phase in get_args(Phase)},
        ),
        Metric("coldchain_deployments_running", "gauge", "Deployments that have not ended.", one(len(state.moves()))),
        Metric(
            "coldchain_deployments_ended_total",
            "counter",
            "Deployments that ended since the controller started, by how.",
            {
                (("state", name),): counters.ended_deployments[name]
                for name in get_args(DeploymentState)
                if name != "running"
            },
        ),
        Metric(
            "coldchain_tasks_failed_total",
            "counter",
            "Tasks that failed since the controller started.",
            one(counters.failed_tasks),
        ),
        Metric("coldchain_commits_total", "counter", "Writes of the controller to its store.", one(counters.commits)),
        Metric(
            "coldchain_placements_refused",
            "gauge",
            "Instances that fit no agent.",
            one(len(controller.reconciler.refused)),
        ),
        Metric(
            "coldchain_engine_up",
            "gauge",
            "1 while the engine answers.",
            {(("target", controller.engine.target),): float(controller.tasks.known and not controller.tasks.trouble)},
        ),
        Metric(
            "coldchain_gateway_lease",
            "gauge",
            "1 while the gateway's lease runs.",
            {(("gateway", name),): float(name in live) for name in sorted(controller.publisher.sessions)},
        ),
        Metric(
            "coldchain_certificate_end",
            "gauge",
            "Until when a certificate of the gateways is good, in seconds since the epoch.",
            {(("certificate", name),): state.certificates[name].not_after for name in sorted(state.certificates)},
        ),
    ]


def as_marathon(metrics: Iterable[Metric]) -> dict[str, Any]:
    """As its clients read them: by kind and name. What has labels has them at the end of its name."""
    found: dict[str, dict[str, Any]] = {"gauge": {}, "counter": {}}
    for metric in metrics:
        for labels, value in metric.samples.items():
            name = ".".join([metric.name.replace("_", ".", 1), *(of for _, of in labels)])
            found[metric.kind][MARATHONS.get(name, name)] = {"value" if metric.kind == "gauge" else "count": value}
    return {
        "version": "4.0.0",
        "gauges": found["gauge"],
        "counters": found["counter"],
        "histograms": {},
        "meters": {},
        "timers": {},
    }


async def show_metrics(request: web.Request) -> web.Response:
    """Prometheus asks for its own form and takes text; who does not care gets Marathon's."""
    accepted = request.headers.get("Accept", "")
    if "text/plain" in accepted or "openmetrics" in accepted:
        return await show_prometheus(request)
    return answer(as_marathon(collect(context_of(request), request.app[COUNTERS])))


async def show_prometheus(request: web.Request) -> web.Response:
    body = render(collect(context_of(request), request.app[COUNTERS]))
    return web.Response(body=body.encode(), headers=HEADERS | {"Content-Type": CONTENT_TYPE})
