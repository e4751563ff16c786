"""The preview of any two valid definitions, whatever stands there and is seen of it, ends and raises nothing."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.decisions import version as decide
from coldchain.decisions.health import Verdict
from coldchain.decisions.instance import TRANSITIONS
from coldchain.decisions.preview import preview
from coldchain.decisions.view import Seen, View
from coldchain.documents.application import decode_app
from coldchain.model.app import App
from coldchain.model.backoff import Backoff
from coldchain.model.deployment import Deployment
from coldchain.model.errors import InvalidDocument
from coldchain.model.instance import Instance, Transition
from coldchain.model.offer import Offer
from coldchain.model.task import TaskStatus
from coldchain.model.version import Version

NOW = 1_700_000_000.0
OLDEST, OLD, FORMER = (f"2023-01-0{day}T00:00:00.000Z" for day in (1, 2, 3))
FIELDS = ["hostname", "@zone", "rack"]
VALUED = [["LIKE", "a|b"], ["UNLIKE", "a.*"], ["MAX_PER", "1"], ["GROUP_BY", "2"], ["CLUSTER", "a"], ["IS", "1.0"]]
PORTS = {"containerPort": st.sampled_from([0, 80]), "hostPort": st.sampled_from([0, 31000, 31001])}


def definitions() -> st.SearchStrategy[App]:
    """Valid ones of one app: of a container, of a process, and of a service that others run."""
    constraint = st.builds(lambda field, rest: [field, *rest], st.sampled_from(FIELDS), st.sampled_from(VALUED))
    shared: dict[str, st.SearchStrategy[Any]] = {
        "instances": st.integers(0, 5),
        "cpus": st.sampled_from([0.1, 1, 3]),
        "mem": st.sampled_from([16, 900]),
        "gpus": st.integers(0, 1),
        "constraints": st.lists(
            constraint | st.tuples(st.sampled_from(FIELDS), st.sampled_from(["UNIQUE", "GROUP_BY", "CLUSTER"])),
            max_size=2,
        ),
        "killSelection": st.sampled_from(["YOUNGEST_FIRST", "OLDEST_FIRST"]),
        "upgradeStrategy": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(["minimumHealthCapacity", "maximumOverCapacity"], st.sampled_from([0, 0.3, 1]))
        ),
        "rollout": st.sampled_from(
            [{}, {"steps": [{"instances": 1}]}, {"steps": [{"share": 0.3, "pauseSeconds": 9}, {"share": 1}]}]
        ),
        "acceptedResourceRoles": st.sampled_from([["*"], ["web"], []]),
        "backoffSeconds": st.sampled_from([0, 1]),
        "drainSeconds": st.sampled_from([0, 30]),
        "settleSeconds": st.sampled_from([0, 40]),
        "rollbackOnFailure": st.booleans(),
        "service": st.just("shop"),
    }
    docker = st.fixed_dictionaries({"docker": st.sampled_from([{"image": "x:1"}, {"image": "x:2"}])})
    mapped = st.fixed_dictionaries(
        {"docker": st.just({"image": "x:1"}), "portMappings": st.lists(st.fixed_dictionaries(PORTS), max_size=2)}
    )
    defined = st.lists(st.fixed_dictionaries({"port": st.sampled_from([0, 31000])}), max_size=2)
    kinds: list[dict[str, st.SearchStrategy[Any]]] = [
        {"container": docker | mapped},
        {"cmd": st.just("serve"), "portDefinitions": defined, "requirePorts": st.booleans()},
        {"instances": st.just(0), "service": st.just("shop")},
    ]
    whole = st.one_of(
        *(
            st.fixed_dictionaries(kind, optional={name: some for name, some in shared.items() if name not in kind})
            for kind in kinds
        )
    )
    return whole.map(_decoded).filter(lambda app: app is not None)  # type: ignore[arg-type,return-value]


def _decoded(document: dict[str, Any]) -> App | None:
    try:
        return decode_app({"id": "/shop"} | document)
    except InvalidDocument:
        return None


OFFERS = st.lists(
    st.builds(
        Offer,
        agent=st.sampled_from(["a", "b", "c"]),
        target=st.sampled_from(["cluster", "cluster", "other"]),
        hostname=st.sampled_from(["a", "b"]),
        cpus=st.sampled_from([0.0, 2.0, 50.0]),
        mem=st.sampled_from([64.0, 5000.0]),
        disk=st.just(10.0),
        gpus=st.integers(0, 1),
        port_ranges=st.sampled_from([(), ((31000, 31002),)]),
        subnet=st.sampled_from([None, "10.0.0.0/29", "10.0.0.0/24"]),
        attributes=st.sampled_from([{}, {"rack": "1"}]),
        zone=st.sampled_from([None, "a"]),
        role=st.sampled_from(["*", "web"]),
        draining=st.sampled_from([False, False, True]),
    ),
    max_size=3,
    unique_by=lambda offer: offer.agent,
)


@st.composite
def instances(draw: st.DrawFn, number: int, app_id: str, versions: list[str]) -> Instance:
    phase = draw(st.sampled_from(sorted(TRANSITIONS)))
    placed = phase != "scheduled" and (phase != "stopped" or draw(st.booleans()))
    at = NOW - draw(st.sampled_from([0.0, 5.0, 100.0]))
    return Instance(
        id=f"{app_id[1:]}-{number}",
        app_id=app_id,
        version_id=draw(st.sampled_from(versions)),
        target=draw(st.sampled_from(["cluster", "cluster", "other"])),
        task_id=f"{app_id[1:]}-{number}.1",
        phase=phase,
        since=at,
        created_at=NOW - 200 + number,
        agent=draw(st.sampled_from(["a", "b", "gone"])) if placed else None,
        address=draw(st.sampled_from([None, "10.0.0.2", "10.0.0.3", "name"])) if placed else None,
        host_ports=draw(st.sampled_from([(), (31000,), (0, 31001)])) if placed else (),
        constraint_values=draw(st.sampled_from([{}, {"hostname": "a"}, {"rack": "1", "@zone": "a"}])) if placed else {},
        served=draw(st.booleans()),
        asked_to_leave=draw(st.sampled_from(["", "", "somebody asked"])),
        history=(Transition(phase=phase, at=at, cause="test"),),
    )


@st.composite
def sights(draw: st.DrawFn, one: Instance) -> Seen:
    state = draw(st.sampled_from([None, "staging", "running", "killing", "failed", "lost"]))
    standing = draw(st.sampled_from(["healthy", "unhealthy", "unknown"]))
    task = TaskStatus(
        task_id=one.task_id,
        instance_id=one.id,
        app_id=one.app_id,
        target=one.target,
        agent="a",
        state=state or "running",
        at=NOW,
    )
    return Seen(
        task=task if state else None,
        launch_refused=draw(st.sampled_from([None, "no such image"])),
        launch_pending=draw(st.booleans()),
        verdict=Verdict(standing=standing, ready=draw(st.booleans()), condemned=draw(st.booleans()), detail="503"),
        trouble=draw(st.sampled_from(["", "nobody knows"])),
        acknowledged=draw(st.booleans()),
        in_flight=draw(st.sampled_from([None, 0, 3])),
    )


@st.composite
def scenes(draw: st.DrawFn) -> tuple[View, list[Offer], list[tuple[Instance, App]]]:
    """An app of three versions, or one that was deleted a moment ago, and the change that a preview makes of it."""
    oldest, old, former, wanted = (draw(definitions()) for _ in range(4))
    there = {
        OLDEST: Version(app=oldest, id=OLDEST, config_id=OLDEST),
        OLD: Version(app=old, id=OLD, config_id=OLD, image="old"),
        FORMER: Version(app=former, id=FORMER, config_id=draw(st.sampled_from([FORMER, OLD]))),
    }
    current = there[FORMER] if draw(st.booleans()) else None
    running = None
    if draw(st.booleans()):
        running = Deployment(
            id="before",
            app_id="/shop",
            target="cluster",
            kind="replace",
            from_version=OLDEST,
            to_version=FORMER,
            started_at=NOW - 9,
            deadline_at=NOW + 9,
            cause="test",
            paused_by=draw(st.sampled_from([None, "plan", "operator", "brake", "dependency"])),
            steps_done=draw(st.integers(0, len(former.rollout.steps))),
        )
    new = decide.next_version(current, wanted, NOW, last=FORMER)
    kind = decide.kind_of(current, new)
    change = decide.change(current, new, running, kind=kind, deployment_id="preview", cause=kind, now=NOW)
    own = [draw(instances(number, "/shop", [OLDEST, OLD, FORMER, new.config_id])) for number in range(draw(COUNT))]
    others = [draw(instances(number, "/other", [OLD])) for number in range(draw(COUNT))]
    config_ids = st.sampled_from([new.config_id, OLD])
    backoff = st.builds(
        Backoff,
        app_id=st.just("/shop"),
        target=st.just("cluster"),
        version_id=config_ids,
        failures=st.integers(1, 9),
        until=st.sampled_from([NOW - 1, NOW + 30]),
    )
    view = View(
        app_id="/shop",
        engine_known=True,
        wanted=new,
        stopping=draw(st.sampled_from([False, False, False, True])),
        versions=there | {new.id: new},
        instances=tuple(own),
        seen={one.id: draw(sights(one)) for one in own},
        brake=draw(st.sampled_from(["", "", "many went bad"])),
        deployment=change.deployment,
        backoff=draw(st.none() | backoff),
    )
    return view, draw(OFFERS), [(one, old) for one in others if one.agent is not None]


COUNT = st.integers(0, 4)


@given(scenes())
@settings(max_examples=60)
def test_no_preview_raises(scene: tuple[View, list[Offer], list[tuple[Instance, App]]]) -> None:
    view, offers, others = scene
    found = preview(view, offers, others, NOW)
    assert found.outcome in ("reached", "stuck")
    assert (found.reason == "") == (found.outcome == "reached")
    msgspec.json.encode(found)
