"""A whole rotation that comes anew: what is in it as it was is left alone, and what it does not have is gone."""

from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import answers, raw_application


async def statuses(lab: GatewayLab) -> list[int]:
    return [(await lab.ask(headers={"Host": f"{name}.test"})).status for name in ("stays", "goes")]


async def test_what_goes_with_a_whole_rotation_and_comes_back_the_same_is_in_force_again() -> None:
    async with running_gateway(worker_processes=1) as lab, raw_application(answers) as app:
        one = ServiceRotation(endpoints=(endpoint("a", app.port),))
        routes = {f"{name}.test": (RouteRule(path="/", service=name),) for name in ("stays", "goes")}
        await lab.push({"stays": one, "goes": one}, routes)
        assert await statuses(lab) == [200, 200]
        await lab.push({"stays": one}, {"stays.test": routes["stays.test"]})
        assert await statuses(lab) == [200, 404]
        await lab.push({"stays": one}, routes)
        assert await statuses(lab) == [200, 503]
        await lab.push({"stays": one, "goes": one}, routes)
        assert await statuses(lab) == [200, 200]
