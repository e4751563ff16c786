"""Keys, sessions and transactions of Consul's HTTP API, asked of every server of it."""

import asyncio
import contextlib
import uuid
from base64 import b64encode
from typing import Any

import aiohttp
import pytest

from coldchain.testing.consul import Asker, seen


async def test_a_key_is_what_was_put(ask: Asker, name: str) -> None:
    key = f"/v1/kv/{name}/a"
    assert (await ask("GET", key)).status == 404
    assert (await ask("PUT", f"{key}?flags=42", data=b"hello")).json is True
    answer = await ask("GET", key)
    [found] = answer.json
    index = found["ModifyIndex"]
    assert found == {
        "LockIndex": 0,
        "Key": f"{name}/a",
        "Flags": 42,
        "Value": b64encode(b"hello").decode(),
        "CreateIndex": index,
        "ModifyIndex": index,
    }
    assert answer.index >= index
    raw = await ask("GET", f"{key}?raw")
    assert (raw.text, raw.headers["Content-Type"]) == ("hello", "text/plain")
    await ask("PUT", f"{key}?flags=42", data=b"hello")
    assert (await ask("GET", key)).json[0]["ModifyIndex"] == index  # the same again is no change
    await ask("PUT", key, data=b"")
    [found] = (await ask("GET", key)).json
    assert (found["Value"], found["Flags"], found["CreateIndex"]) == (None, 0, index)
    assert found["ModifyIndex"] > index
    assert (await ask("DELETE", key)).json is True
    assert (await ask("GET", key)).status == 404
    assert (await ask("DELETE", key)).json is True


async def test_keys_are_listed_and_deleted_by_prefix(ask: Asker, name: str) -> None:
    for key in ("a", "b/c", "b/d", "e"):
        await ask("PUT", f"/v1/kv/{name}/{key}", data=key.encode())
    assert [one["Key"] for one in (await ask("GET", f"/v1/kv/{name}/?recurse")).json] == [
        f"{name}/{key}" for key in ("a", "b/c", "b/d", "e")
    ]
    folded = await ask("GET", f"/v1/kv/{name}/?keys&separator=/")
    assert folded.json == [f"{name}/a", f"{name}/b/", f"{name}/e"]
    assert (await ask("DELETE", f"/v1/kv/{name}/b?recurse")).json is True
    assert (await ask("GET", f"/v1/kv/{name}/?keys")).json == [f"{name}/a", f"{name}/e"]
    assert (await ask("GET", f"/v1/kv/{name}/none?recurse")).status == 404
    assert (await ask("GET", f"/v1/kv/{name}/none?keys")).status == 404


async def test_compare_and_set(ask: Asker, name: str) -> None:
    key = f"/v1/kv/{name}"
    assert (await ask("PUT", f"{key}?cas=0", data=b"1")).json is True
    assert (await ask("PUT", f"{key}?cas=0", data=b"2")).json is False
    index = (await ask("GET", key)).json[0]["ModifyIndex"]
    assert (await ask("PUT", f"{key}?cas={index + 1}", data=b"2")).json is False
    assert (await ask("PUT", f"{key}?cas={index}", data=b"2")).json is True
    assert (await ask("DELETE", f"{key}?cas={index}")).json is False
    index = (await ask("GET", key)).json[0]["ModifyIndex"]
    assert (await ask("DELETE", f"{key}?cas={index}")).json is True
    assert (await ask("GET", key)).status == 404


async def test_a_question_about_a_prefix_waits_for_changes_below_it(ask: Asker, name: str) -> None:
    await ask("PUT", f"/v1/kv/{name}/a", data=b"1")
    before = await ask("GET", f"/v1/kv/{name}/?recurse")
    waiting = asyncio.create_task(ask("GET", f"/v1/kv/{name}/?recurse&index={before.index}&wait=60s"))
    await ask("PUT", f"/v1/kv/{name}z", data=b"beside it")
    await ask("PUT", f"/v1/kv/{name}/b", data=b"2")
    assert [one["Key"] for one in (await waiting).json] == [f"{name}/a", f"{name}/b"]
    before = await ask("GET", f"/v1/kv/{name}/?recurse")
    waiting = asyncio.create_task(ask("GET", f"/v1/kv/{name}/?recurse&index={before.index}&wait=60s"))
    await ask("DELETE", f"/v1/kv/{name}/b")
    assert [one["Key"] for one in (await waiting).json] == [f"{name}/a"]


async def test_a_value_has_a_limit(ask: Asker, name: str) -> None:
    assert (await ask("PUT", f"/v1/kv/{name}", data=b"x" * 512 * 1024)).json is True
    with contextlib.suppress(aiohttp.ClientConnectionError):  # a server may close before it has read all that
        assert (await ask("PUT", f"/v1/kv/{name}", data=b"x" * (512 * 1024 + 1))).status == 413
    assert len((await ask("GET", f"/v1/kv/{name}?raw")).text) == 512 * 1024


# Sessions and locks


async def session(ask: Asker, **fields: Any) -> str:
    answer = await ask("PUT", "/v1/session/create", fields)
    assert answer.status == 200, answer.text
    name: str = answer.json["ID"]
    return name


async def test_a_session_is_what_was_asked_for(ask: Asker, name: str) -> None:
    one = await session(ask, Name=name, TTL="15s", LockDelay="2s", Behavior="delete")
    [found] = (await ask("GET", f"/v1/session/info/{one}")).json
    assert (found["Name"], found["TTL"], found["LockDelay"], found["Behavior"]) == (name, "15s", 2 * 10**9, "delete")
    assert found["NodeChecks"] == ["serfHealth"]
    node = found["Node"]
    assert one in [each["ID"] for each in (await ask("GET", "/v1/session/list")).json]
    assert one in [each["ID"] for each in (await ask("GET", f"/v1/session/node/{node}")).json]
    assert (await ask("PUT", f"/v1/session/renew/{one}")).json[0]["ID"] == one
    assert (await ask("PUT", f"/v1/session/destroy/{one}")).json is True
    assert (await ask("GET", f"/v1/session/info/{one}")).json == []
    assert (await ask("PUT", f"/v1/session/renew/{one}")).status == 404
    for body, text in (
        ({"TTL": "5s"}, "Invalid Session TTL '5000000000'"),
        ({"Behavior": "x"}, "Invalid Behavior setting 'x'"),
        ({"Checks": [f"{name}-none"]}, "Missing check"),
    ):
        answer = await ask("PUT", "/v1/session/create", body)
        assert answer.status in (400, 404, 500)
        assert text in answer.text


async def test_one_session_at_a_time_holds_a_lock(ask: Asker, name: str) -> None:
    key = f"/v1/kv/{name}"
    mine, other = await session(ask, LockDelay="0s"), await session(ask, LockDelay="0s")
    assert (await ask("PUT", f"{key}?acquire={mine}", data=b"1")).json is True
    assert (await ask("PUT", f"{key}?acquire={other}", data=b"2")).json is False
    assert (await ask("PUT", f"{key}?acquire={mine}", data=b"3")).json is True
    [found] = (await ask("GET", key)).json
    assert (found["Session"], found["LockIndex"], found["Value"]) == (mine, 1, b64encode(b"3").decode())
    assert (await ask("PUT", f"{key}?release={other}", data=b"4")).json is False
    assert (await ask("PUT", f"{key}?release={mine}", data=b"5")).json is True
    [found] = (await ask("GET", key)).json
    assert "Session" not in found
    assert (await ask("PUT", f"{key}?acquire={other}", data=b"6")).json is True
    assert (await ask("GET", key)).json[0]["LockIndex"] == 2
    answer = await ask("PUT", f"{key}?acquire={uuid.uuid4()}", data=b"7")
    assert answer.status == 500
    assert "invalid session" in answer.text
    for one in (mine, other):
        await ask("PUT", f"/v1/session/destroy/{one}")


@pytest.mark.parametrize("behavior", ["release", "delete"])
async def test_the_end_of_a_session_lets_its_locks_go(ask: Asker, name: str, behavior: str) -> None:
    key = f"/v1/kv/{name}"
    one = await session(ask, Behavior=behavior, LockDelay="60s")
    other = await session(ask)
    await ask("PUT", f"{key}?acquire={one}", data=b"1")
    before = (await ask("GET", key)).index
    waiting = asyncio.create_task(ask("GET", f"{key}?index={before}&wait=60s"))
    await ask("PUT", f"/v1/session/destroy/{one}")
    after = await waiting
    if behavior == "delete":
        assert after.status == 404
    else:
        assert "Session" not in after.json[0]
    # Nobody may lock it before the delay is over.
    assert (await ask("PUT", f"{key}?acquire={other}", data=b"2")).json is False
    await ask("PUT", f"/v1/session/destroy/{other}")


async def test_a_session_ends_with_its_check(ask: Asker, name: str) -> None:
    await ask("PUT", "/v1/agent/check/register", {"Name": f"{name}-check", "TTL": "60s", "Status": "passing"})
    node = (await ask("GET", "/v1/agent/self")).json["Config"]["NodeName"]
    await seen(ask, f"/v1/health/node/{node}", lambda found: f"{name}-check" in [one["CheckID"] for one in found])
    one = await session(ask, Checks=["serfHealth", f"{name}-check"])
    index = (await ask("GET", f"/v1/session/info/{one}")).index
    await ask("PUT", f"/v1/agent/check/fail/{name}-check")
    after = await ask("GET", f"/v1/session/info/{one}?index={index}&wait=60s")
    assert after.json == []


# Several changes at once


def kv(verb: str, key: str, value: bytes | None = None, **fields: Any) -> dict[str, Any]:
    given = {"Value": b64encode(value).decode()} if value is not None else {}
    return {"KV": {"Verb": verb, "Key": key, **given, **fields}}


async def test_a_transaction_is_done_as_a_whole(ask: Asker, name: str) -> None:
    answer = await ask("PUT", "/v1/txn", [kv("set", f"{name}/a", b"1", Flags=3), kv("cas", f"{name}/b", b"2", Index=0)])
    assert answer.status == 200
    first, second = (one["KV"] for one in answer.json["Results"])
    assert (first["Key"], first["Flags"], second["Key"]) == (f"{name}/a", 3, f"{name}/b")
    assert (
        first["ModifyIndex"] == second["ModifyIndex"] == (await ask("GET", f"/v1/kv/{name}/a")).json[0]["ModifyIndex"]
    )
    assert answer.json["Errors"] is None
    answer = await ask("PUT", "/v1/txn", [kv("get", f"{name}/a"), kv("get-tree", f"{name}/")])
    assert [one["KV"]["Value"] for one in answer.json["Results"]] == ["MQ==", "MQ==", "Mg=="]


async def test_a_transaction_that_fails_changes_nothing(ask: Asker, name: str) -> None:
    await ask("PUT", f"/v1/kv/{name}/a", data=b"1")
    index = (await ask("GET", f"/v1/kv/{name}/a")).json[0]["ModifyIndex"]
    answer = await ask(
        "PUT",
        "/v1/txn",
        [
            kv("set", f"{name}/new", b"x"),
            kv("check-index", f"{name}/a", Index=index + 1),
            kv("get", f"{name}/none"),
            kv("check-not-exists", f"{name}/a"),
        ],
    )
    assert answer.status == 409
    assert [one["OpIndex"] for one in answer.json["Errors"]] == [1, 2, 3]
    assert "failed index check" in answer.json["Errors"][0]["What"]
    assert (await ask("GET", f"/v1/kv/{name}/new")).status == 404
    answer = await ask("PUT", "/v1/txn", [kv("set", f"{name}/{number}", b"") for number in range(65)])
    assert answer.status == 413
    answer = await ask("PUT", "/v1/txn", [kv("fly", f"{name}/a")])
    assert 'unknown KV verb "fly"' in answer.json["Errors"][0]["What"]
