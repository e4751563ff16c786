"""What Consul's HTTP API answers, asked of the embedded registry and of a real Consul: both are held to the same."""

import asyncio
from typing import Any

import pytest

from coldchain.testing.consul import Asker, seen


async def register(ask: Asker, name: str, service_id: str = "", **fields: Any) -> str:
    service_id = service_id or name
    answer = await ask("PUT", "/v1/agent/service/register", {"Name": name, "ID": service_id, "Port": 80, **fields})
    assert answer.status == 200, answer.text
    return service_id


def ids(entries: Any) -> list[str]:
    return sorted(entry["Service"]["ID"] for entry in entries)


# Services


async def test_a_registered_service_is_found_with_all_it_gave(ask: Asker, name: str) -> None:
    await register(ask, name, Tags=["blue", "v2"], Meta={"version": "2"}, Address="10.1.2.3")
    [entry] = (await seen(ask, f"/v1/health/service/{name}", lambda found: len(found) == 1)).json
    service = entry["Service"]
    assert (service["ID"], service["Service"], service["Address"], service["Port"]) == (name, name, "10.1.2.3", 80)
    assert (service["Tags"], service["Meta"]) == (["blue", "v2"], {"version": "2"})
    assert service["Weights"] == {"Passing": 1, "Warning": 1}
    assert service["TaggedAddresses"]["lan_ipv4"] == {"Address": "10.1.2.3", "Port": 80}
    assert [check["CheckID"] for check in entry["Checks"]] == ["serfHealth"]
    [listed] = (await ask("GET", f"/v1/catalog/service/{name}")).json
    assert (listed["ServiceID"], listed["ServiceAddress"], listed["ServicePort"]) == (name, "10.1.2.3", 80)
    assert (listed["ServiceTags"], listed["ServiceMeta"]) == (["blue", "v2"], {"version": "2"})
    assert listed["Node"] == entry["Node"]["Node"]
    assert sorted((await ask("GET", "/v1/catalog/services")).json[name]) == ["blue", "v2"]
    node = (await ask("GET", f"/v1/catalog/node/{entry['Node']['Node']}")).json
    assert node["Services"][name]["Port"] == 80
    assert (await ask("GET", f"/v1/agent/service/{name}")).json["Port"] == 80


async def test_registered_again_it_is_replaced_and_deregistered_it_is_gone(ask: Asker, name: str) -> None:
    await register(ask, name)
    await register(ask, name, Port=81)
    await seen(ask, f"/v1/health/service/{name}", lambda found: [one["Service"]["Port"] for one in found] == [81])
    assert (await ask("PUT", f"/v1/agent/service/deregister/{name}")).status == 200
    await seen(ask, f"/v1/health/service/{name}", lambda found: found == [])
    assert name not in (await ask("GET", "/v1/catalog/services")).json
    assert (await ask("PUT", f"/v1/agent/service/deregister/{name}")).status in (200, 404)  # 404: newer versions
    assert (await ask("GET", f"/v1/agent/service/{name}")).status == 404


async def test_fields_are_read_in_any_capitals(ask: Asker, name: str) -> None:
    body = {"name": name, "id": f"{name}-1", "port": 80, "enable_tag_override": True, "check": {"ttl": "1m"}}
    assert (await ask("PUT", "/v1/agent/service/register", body)).status == 200
    services = (await ask("GET", "/v1/agent/services")).json
    assert services[f"{name}-1"]["EnableTagOverride"] is True


async def test_tags_and_filters_choose(ask: Asker, name: str) -> None:
    await register(ask, name, f"{name}-1", Tags=["blue"], Meta={"version": "1"}, Port=81)
    await register(ask, name, f"{name}-2", Tags=["blue", "new"], Meta={"version": "2"}, Port=82)
    await seen(ask, f"/v1/health/service/{name}", lambda found: len(found) == 2)
    path = f"/v1/health/service/{name}"
    cases = {
        "tag=blue": 2,
        "tag=blue&tag=new": 1,
        "tag=red": 0,
        'filter=Service.Meta.version == "2"': 1,
        "filter=Service.Meta.version != 2": 1,
        "filter=Service.Meta.missing == x": 0,
        "filter=Service.Meta.missing != x": 2,
        "filter=new in Service.Tags": 1,
        "filter=new not in Service.Tags": 1,
        "filter=Service.Tags contains blue": 2,
        "filter=Service.Tags is empty": 0,
        "filter=Service.Meta is not empty": 2,
        "filter=Service.Port == 81 or Service.Port == 82": 2,
        "filter=Service.Port == 81 and blue in Service.Tags": 1,
        "filter=not (Service.Port == 81) and blue in Service.Tags": 1,
        "filter=Checks.Status == passing": 2,
        "filter=Node.Meta.rack == a": 0,
        "node-meta=rack:a": 0,
    }
    for query, count in cases.items():
        answer = await ask("GET", f"{path}?{query}")
        assert answer.status == 200, (query, answer.text)
        assert len(answer.json) == count, query
    services = (await ask("GET", f"/v1/agent/services?filter=Service == {name} and Port == 81")).json
    assert list(services) == [f"{name}-1"]
    [listed] = (await ask("GET", f"/v1/catalog/service/{name}?filter=ServiceMeta.version == 2")).json
    assert listed["ServiceID"] == f"{name}-2"


@pytest.mark.parametrize("expression", ["Foo == 1", "Service.ID ==", "(Service.ID == a", "Service.Port == abc", "and"])
async def test_a_filter_that_makes_no_sense_is_refused(ask: Asker, name: str, expression: str) -> None:
    await register(ask, name)
    await seen(ask, f"/v1/health/service/{name}", lambda found: len(found) == 1)
    answer = await ask("GET", f"/v1/health/service/{name}?filter={expression}")
    assert answer.status in (400, 500)  # 500: older versions
    assert "Failed to create boolean expression evaluator" in answer.text


# Checks


async def test_a_ttl_check_says_what_its_heartbeats_say(ask: Asker, name: str) -> None:
    await register(ask, name, Check={"TTL": "60s"})
    path = f"/v1/health/service/{name}"
    check_id = f"service:{name}"
    for verb, status in (("pass", "passing"), ("warn", "warning"), ("fail", "critical")):
        assert (await ask("PUT", f"/v1/agent/check/{verb}/{check_id}?note=so+it+is")).status == 200
        await seen(ask, path, lambda found, status=status: found[0]["Checks"][1]["Status"] == status)
        assert len((await ask("GET", f"{path}?passing")).json) == (status == "passing")
        [check] = (await ask("GET", f"/v1/health/checks/{name}")).json
        assert (check["CheckID"], check["Status"], check["Type"]) == (check_id, status, "ttl")
        states = (await ask("GET", f"/v1/health/state/{status}")).json
        assert check_id in [one["CheckID"] for one in states]
    assert (await ask("GET", "/v1/agent/checks")).json[check_id]["Output"] == "so it is"
    body = {"Status": "passing", "Output": "well again"}
    assert (await ask("PUT", f"/v1/agent/check/update/{check_id}", body)).status == 200
    assert (await ask("GET", "/v1/agent/checks")).json[check_id]["Output"] == "well again"
    answer = await ask("PUT", f"/v1/agent/check/update/{check_id}", {"Status": "fine"})
    assert (answer.status, answer.text) == (400, "Invalid check status: 'fine'")


async def test_without_heartbeats_a_ttl_check_turns_critical(ask: Asker, name: str) -> None:
    await register(ask, name, Check={"TTL": "1s", "Status": "passing"})
    answer = await seen(
        ask, f"/v1/health/service/{name}", lambda found: found and found[0]["Checks"][1]["Status"] == "critical"
    )
    assert "TTL expired" in answer.json[0]["Checks"][1]["Output"]


async def test_a_service_registered_again_keeps_what_is_known_of_its_checks(ask: Asker, name: str) -> None:
    await register(ask, name, Check={"TTL": "60s"})
    await ask("PUT", f"/v1/agent/check/pass/service:{name}")
    await register(ask, name, Port=81, Check={"TTL": "60s"})
    assert (await ask("GET", "/v1/agent/checks")).json[f"service:{name}"]["Status"] == "passing"
    checks = [{"TTL": "60s", "CheckID": f"{name}-other"}]
    answer = await ask(
        "PUT", "/v1/agent/service/register?replace-existing-checks", {"Name": name, "ID": name, "Checks": checks}
    )
    assert answer.status == 200
    assert [one for one in (await ask("GET", "/v1/agent/checks")).json if name in one] == [f"{name}-other"]


async def test_a_check_of_its_own_belongs_to_a_service_or_to_the_node(ask: Asker, name: str) -> None:
    await register(ask, name)
    body = {"Name": f"{name} disk", "ID": f"{name}-disk", "ServiceID": name, "TTL": "60s", "Status": "passing"}
    assert (await ask("PUT", "/v1/agent/check/register", body)).status == 200
    await seen(ask, f"/v1/health/service/{name}", lambda found: found and len(found[0]["Checks"]) == 2)
    assert (await ask("PUT", f"/v1/agent/check/deregister/{name}-disk")).status == 200
    assert f"{name}-disk" not in (await ask("GET", "/v1/agent/checks")).json
    body = {"Name": f"{name}-node", "TTL": "60s", "Status": "warning"}
    assert (await ask("PUT", "/v1/agent/check/register", body)).status == 200
    node = (await ask("GET", "/v1/agent/self")).json["Config"]["NodeName"]
    await seen(ask, f"/v1/health/node/{node}", lambda found: f"{name}-node" in [one["CheckID"] for one in found])
    answer = await ask("PUT", "/v1/agent/check/register", {"Name": "x", "ServiceID": f"{name}-none", "TTL": "9s"})
    assert answer.status in (404, 500)
    assert answer.text.startswith(f'ServiceID "{name}-none" does not exist')


async def test_maintenance_takes_out_of_service_and_back(ask: Asker, name: str) -> None:
    await register(ask, name)
    path = f"/v1/health/service/{name}"
    assert (await ask("PUT", f"/v1/agent/service/maintenance/{name}?enable=true&reason=moving")).status == 200
    answer = await seen(ask, path, lambda found: found and len(found[0]["Checks"]) == 2)
    [check] = [one for one in answer.json[0]["Checks"] if one["CheckID"] == f"_service_maintenance:{name}"]
    assert (check["Status"], check["Notes"], check["Name"]) == ("critical", "moving", "Service Maintenance Mode")
    assert (await ask("GET", f"{path}?passing")).json == []
    health = await ask("GET", f"/v1/agent/health/service/name/{name}")
    assert (health.status, health.json[0]["AggregatedStatus"]) == (503, "maintenance")
    health = await ask("GET", f"/v1/agent/health/service/id/{name}?format=text")
    assert (health.status, health.text) == (503, "maintenance")
    assert (await ask("PUT", f"/v1/agent/service/maintenance/{name}?enable=false")).status == 200
    await seen(ask, f"{path}?passing", lambda found: len(found) == 1)
    assert (await ask("GET", f"/v1/agent/health/service/id/{name}?format=text")).status == 200
    for path, text in {
        name: "Missing value for enable",
        f"{name}?enable=maybe": 'Invalid value for enable: "maybe"',
    }.items():
        answer = await ask("PUT", f"/v1/agent/service/maintenance/{path}")
        assert (answer.status, answer.text) == (400, text)
    assert (await ask("PUT", f"/v1/agent/service/maintenance/{name}-none?enable=true")).status == 404


async def test_the_node_can_be_taken_out_of_service(ask: Asker, name: str) -> None:
    await register(ask, name)
    await seen(ask, f"/v1/health/service/{name}?passing", lambda found: len(found) == 1)
    assert (await ask("PUT", "/v1/agent/maintenance?enable=true")).status == 200
    try:
        await seen(ask, f"/v1/health/service/{name}?passing", lambda found: found == [])
    finally:
        assert (await ask("PUT", "/v1/agent/maintenance?enable=false")).status == 200
    await seen(ask, f"/v1/health/service/{name}?passing", lambda found: len(found) == 1)


# Questions that wait


async def test_a_blocking_question_is_answered_by_the_change(ask: Asker, name: str) -> None:
    await register(ask, name)
    before = await seen(ask, f"/v1/health/service/{name}", lambda found: len(found) == 1)
    path = f"/v1/health/service/{name}?index={before.index}&wait=60s"
    waiting = asyncio.create_task(ask("GET", path))
    await register(ask, f"{name}x")  # another service's change is none of ours
    await register(ask, name, f"{name}-2")
    after = await waiting
    assert ids(after.json) == [name, f"{name}-2"]
    assert after.index > before.index


async def test_a_blocking_question_ends_with_its_wait(ask: Asker, name: str) -> None:
    await register(ask, name)
    before = await seen(ask, f"/v1/health/service/{name}", lambda found: len(found) == 1)
    after = await ask("GET", f"/v1/health/service/{name}?index={before.index}&wait=200ms")
    assert (after.status, after.index, after.json) == (200, before.index, before.json)


async def test_the_headers_say_how_fresh_an_answer_is(ask: Asker, name: str) -> None:
    for path in ("/v1/health/service/x", "/v1/catalog/services", "/v1/catalog/nodes", "/v1/health/state/any"):
        answer = await ask("GET", path)
        assert answer.index >= 1
        assert answer.headers["X-Consul-KnownLeader"] == "true"
        assert answer.headers["X-Consul-LastContact"] == "0"
        assert answer.headers["Content-Type"] == "application/json"


# Errors


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "/v1/health/service/", None, 400, "Missing service name"),
        ("GET", "/v1/health/service/x?index=a", None, 400, "Invalid index"),
        ("GET", "/v1/health/service/x?index=1&wait=a", None, 400, "Invalid wait time"),
        ("GET", "/v1/health/service/x?dc=elsewhere", None, 500, "No path to datacenter"),
        ("GET", "/v1/health/service/x?stale&consistent", None, 400, "Cannot specify ?stale with ?consistent"),
        ("PUT", "/v1/agent/service/register", {}, 400, "Missing service name"),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Foo": 1}, 400, 'unknown field "Foo"'),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Port": "a"}, 400, "Request decode failed"),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Address": "0.0.0.0"}, 400, "Invalid service address"),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Weights": {"Passing": 0}}, 400, "Invalid Weights"),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Meta": {"a b": "c"}}, 400, "Invalid Service Meta"),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Check": {"TTL": "a"}}, 400, 'invalid duration "a"'),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Check": {"Interval": "1s"}}, 400, "TTL must be > 0"),
        ("PUT", "/v1/agent/service/register", {"Name": "x", "Check": {"TCP": "x:1"}}, 400, "Interval must be > 0"),
        ("POST", "/v1/agent/service/register", {}, 405, "method POST not allowed"),
        ("PUT", "/v1/agent/services", None, 405, "method PUT not allowed"),
        ("GET", "/v1/nothing", None, 404, ""),
        ("GET", "/v1/acl/tokens", None, 401, "ACL support disabled"),
        ("PUT", "/v1/kv/", None, 400, "Missing key name"),
        ("PUT", "/v1/kv/a?cas=1&acquire=x", None, 400, "Conflicting flags"),
        ("DELETE", "/v1/kv/a?recurse&cas=1", None, 400, "Conflicting flags"),
        ("POST", "/v1/kv/a", None, 405, "method POST not allowed"),
        ("PUT", "/v1/txn", {}, 400, "Failed to parse body"),
    ],
)
async def test_mistakes_are_answered_as_clients_know_it(
    ask: Asker, method: str, path: str, body: Any, status: int, text: str
) -> None:
    answer = await ask(method, path, body)
    assert answer.status == status
    assert text in answer.text
    if status in (400, 405, 401):
        assert answer.headers["Content-Type"].startswith("text/plain")


async def test_scripts_are_refused(ask: Asker) -> None:
    body = {"Name": "x", "Check": {"Args": ["rm", "-r"], "Interval": "1s"}}
    answer = await ask("PUT", "/v1/agent/service/register", body)
    assert answer.status in (400, 500)
    assert "Scripts are disabled on this agent" in answer.text


async def test_the_agent_says_who_it_is(ask: Asker) -> None:
    config = (await ask("GET", "/v1/agent/self")).json["Config"]
    assert config["Datacenter"] == "dc1"
    assert (await ask("GET", "/v1/catalog/datacenters")).json == ["dc1"]
    [node] = (await ask("GET", "/v1/catalog/nodes")).json
    assert (node["Node"], node["ID"]) == (config["NodeName"], config["NodeID"])
    [member] = (await ask("GET", "/v1/agent/members")).json
    assert member["Name"] == config["NodeName"]
    leader = (await ask("GET", "/v1/status/leader")).json
    assert (await ask("GET", "/v1/status/peers")).json == [leader]
    assert (await ask("GET", "/v1/catalog/node/none")).json is None
