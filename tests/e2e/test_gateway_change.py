"""100 single services a second change among 1,000 routes with 10 instances each, and no request notices."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from coldchain.model.rotation import RotationUpdate, RouteRule, ServiceRotation
from coldchain.testing.application.process import Application, running_application
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.load.accounting import reconcile_records
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target

SERVICES, INSTANCES, CHANGES_A_SECOND = 1000, 10, 100
SIDES = ("even", "odd")
"""Services with an even number are served by the applications of the one side, the others by those of the other."""


@pytest.fixture
async def sides(tmp_path: Path) -> AsyncIterator[list[list[Application]]]:
    tmp_path.chmod(0o755)
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for side in SIDES:
            running = [running_application(INSTANCE=f"{side}-{number}", RECORDS=str(tmp_path)) for number in range(2)]
            made.append([await stack.enter_async_context(one) for one in running])
        yield made


def service(number: int, turn: int, sides: Sequence[Sequence[Application]]) -> ServiceRotation:
    """With each turn one instance is a new one, and another one leaves."""
    side = sides[number % 2]
    return ServiceRotation(
        endpoints=tuple(
            endpoint(f"s{number}-{one}", side[one % len(side)].port, int(one != turn))
            for one in range(turn, turn + INSTANCES)
        )
    )


async def change(lab: GatewayLab, sides: Sequence[Sequence[Application]], seconds: float) -> int:
    """As the controller does it: what changed while an update was on its way goes with the next one."""
    loop = asyncio.get_running_loop()
    began, done = loop.time(), 0
    while done < CHANGES_A_SECOND * seconds:
        due = int((loop.time() - began) * CHANGES_A_SECOND) + 1
        changed: dict[str, ServiceRotation | None] = {}
        for number in range(done, min(due, int(CHANGES_A_SECOND * seconds))):
            chosen = (number * 7) % SERVICES
            changed[f"s{chosen}"] = service(chosen, 1 + number // SERVICES, sides)
            done += 1
        if changed:
            base, lab.revision = lab.revision, lab.revision + 1
            await lab.gateway.apply(RotationUpdate(base=base, revision=lab.revision, services=changed))
        await asyncio.sleep(0.001)
    return done


@pytest.mark.parametrize("seconds", [3.0, pytest.param(30.0, marks=pytest.mark.long)])
async def test_single_services_change_all_the_time_and_no_request_notices(
    sides: list[list[Application]], tmp_path: Path, seconds: float
) -> None:
    async with running_gateway() as lab:
        await lab.push(
            {f"s{number}": service(number, 0, sides) for number in range(SERVICES)},
            {f"s{number}.test": (RouteRule(path="/", service=f"s{number}"),) for number in range(SERVICES)},
        )
        targets = tuple(Target(host=f"s{number}.test") for number in range(SERVICES))
        plan = LoadPlan(
            address="127.0.0.1", port=lab.port, targets=targets, rate=150.0, keep_alive_share=0.8, slow_share=0.0
        )
        async with Generator(plan) as load:
            changed = await change(lab, sides, seconds)
        state = await lab.state()
    assert changed == CHANGES_A_SECOND * seconds
    assert state.applied == state.head == lab.revision
    assert load.report().failures == ()
    wrong = [one for one in load.outcomes if (one.instance or "").partition("-")[0] != SIDES[int(one.host[1:-5]) % 2]]
    assert wrong == []
    counted = reconcile_records(load.outcomes, tmp_path)
    assert (counted.duplicated, counted.lost) == ((), ()), counted
    assert set(state.in_flight.values()) <= {0}
