"""What is said of a route's addresses and ways to show who one is, when it is wrong, and what is taken."""

from typing import Any

import pytest

from coldchain.documents.application import decode_app
from coldchain.model.errors import InvalidDocument

WHERE = "/routes/0/filters"


def app(**filters: Any) -> dict[str, Any]:
    ports = [{"containerPort": 80}]
    container = {"docker": {"image": "shop"}, "portMappings": ports}
    return {"id": "/shop", "container": container, "routes": [{"domains": ["shop.test"], "filters": filters}]}


def jwt(**fields: Any) -> dict[str, Any]:
    return {"authentication": {"jwt": {"algorithm": "RS256", "keys": "https://issuer.test/keys", **fields}}}


WRONG: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"addresses": {}}, "/addresses", "keeps nobody out"),
    ({"addresses": {"allow": ["10.0.0.0/33"]}}, "/addresses/allow/0", "no network"),
    ({"addresses": {"deny": ["10.0.0.1", "shop.test"]}}, "/addresses/deny/1", "no network"),
    ({"addresses": {"deny": ["10.0.0.1/8"]}}, "/addresses/deny/0", "more bits"),
    ({"addresses": {"deny": ["10.0.0.0/255.0.0.0"]}}, "/addresses/deny/0", "number of bits"),
    ({"addresses": {"deny": ["fe80::1%eth0"]}}, "/addresses/deny/0", "number of bits"),
    ({"addresses": {"deny": ["::ffff:10.0.0.0/104"]}}, "/addresses/deny/0", "is IPv4"),
    ({"authentication": {}}, "/authentication", "asks for nothing"),
    ({"authentication": {"consumers": ["anna"]}}, "/authentication", "asks for nothing"),
    ({"authentication": {"apiKey": {}}}, "/authentication/apiKey", "one place"),
    ({"authentication": {"apiKey": {"header": "X", "query": "x"}}}, "/authentication/apiKey", "one place"),
    ({"authentication": {"apiKey": {"header": "Authorization"}}}, "/authentication/apiKey/header", "of its own"),
    ({"authentication": {"apiKey": {"header": "X-Real-IP"}}}, "/authentication/apiKey/header", "of its own"),
    ({"authentication": {"apiKey": {"header": "a b"}}}, "/authentication/apiKey/header", "header's name"),
    ({"authentication": {"apiKey": {"query": "a&b"}}}, "/authentication/apiKey/query", "a parameter"),
    ({"authentication": {"apiKey": {"query": "k"}, "groups": ["a,b"]}}, "/authentication/groups/0", "64 letters"),
    ({"authentication": {"signature": {"clockSkewSeconds": 0}}}, "/authentication/signature/clockSkewSeconds", "1"),
    (jwt(keys=None), "/authentication/jwt/keys", "needs the address"),
    (jwt(algorithm="HS256"), "/authentication/jwt/keys", "no public keys"),
    (jwt(algorithm="none"), "/authentication/jwt/algorithm", "RS256"),
    (jwt(keys="file:///keys"), "/authentication/jwt/keys", "http://"),
    (jwt(keys="https://anna@issuer.test/"), "/authentication/jwt/keys", "http://"),
    (jwt(keys="https://issuer.test:x/"), "/authentication/jwt/keys", "http://"),
    (jwt(keys="https://issuer.test/\\keys"), "/authentication/jwt/keys", "http://"),
    (jwt(headers={"X-Consumer-Name": "sub"}), "/authentication/jwt/headers/X-Consumer-Name", "of its own"),
    (jwt(headers={"X-A": "a", "x-a": "b"}), "/authentication/jwt/headers/x-a", "twice"),
    ({"requestHeaders": {"set": {"X-Consumer-Name": "root"}}}, "/requestHeaders/set/X-Consumer-Name", "own to set"),
    ({"redirect": {"path": "/x"}, "addresses": {"deny": ["10.0.0.1"]}}, "", "no instance sees"),
)


@pytest.mark.parametrize(("filters", "path", "words"), WRONG, ids=str)
def test_what_is_wrong_is_told(filters: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        decode_app(app(**filters))
    assert [(one.path, words in one.reason) for one in refused.value.problems] == [(WHERE + path, True)]


def test_what_is_right_is_taken() -> None:
    filters = {
        "addresses": {"allow": ["10.0.0.0/8", "192.0.2.1", "::/0", "2001:db8::1"], "deny": ["0.0.0.0/0"]},
        "authentication": {
            "apiKey": {"header": "X-Api-Key"},
            "signature": {},
            **jwt(keys="http://10.0.0.1:8080/keys?x=1", headers={"X-Mail": "email"})["authentication"],
            "consumers": ["anna@shop.test"],
            "groups": ["vip"],
        },
    }
    (route,) = decode_app(app(**filters)).routes
    assert route.filters is not None
    assert route.filters.authentication is not None
    assert route.filters.authentication.jwt is not None
    assert route.filters.authentication.jwt.leeway_seconds == 30
