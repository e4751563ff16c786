"""Routes of a definition: every way to be told what is wrong with one, and what is taken as it stands."""

from typing import Any

import pytest

from coldchain.documents.application import decode_app, encode_app
from coldchain.model.errors import InvalidDocument


def definition(*routes: dict[str, Any]) -> dict[str, Any]:
    mappings = [{"containerPort": 8080}, {"containerPort": 9090}]
    return {"id": "/a", "container": {"docker": {"image": "x"}, "portMappings": mappings}, "routes": list(routes)}


def route(**fields: Any) -> dict[str, Any]:
    return {"routes": [{"domains": ["shop.example"]} | fields]}


def filtered(path: str = "/", pathKind: str = "prefix", **filters: Any) -> dict[str, Any]:  # noqa: N803
    return route(path=path, pathKind=pathKind, filters=filters)


WRONG: list[tuple[dict[str, Any], str, str, str | None]] = [
    (route(domains=[]), "/routes/0/domains", "must have 1 to 1000 members, not 0", None),
    (route(domains=["a.*.example"]), "/routes/0/domains/0", "`*.` at the beginning", None),
    (route(domains=["*example"]), "/routes/0/domains/0", "`*.` at the beginning", None),
    (route(domains=["*."]), "/routes/0/domains/0", "is no host name", None),
    (route(domains=["bücher.example"]), "/routes/0/domains/0", "xn--", None),
    (route(domains=["shop.example:80"]), "/routes/0/domains/0", "no scheme, port or path", None),
    (route(domains=["a_b"]), "/routes/0/domains/0", "is no host name", None),
    (route(domains=["a;b"]), "/routes/0/domains/0", "is no host name", None),
    (route(domains=["a\n"]), "/routes/0/domains/0", "is no host name", None),
    (route(domains=[".".join(["a" * 60] * 5)]), "/routes/0/domains/0", "is no host name", None),
    (route(domains=["a", "A"]), "/routes/0/domains/1", "is routed twice", None),
    (route(path="cart"), "/routes/0/path", "must begin with `/`", None),
    (route(path="/a/../b"), "/routes/0/path", "must not contain `..`", None),
    (route(path="/a//b"), "/routes/0/path", "must not contain", None),
    (route(path="/%2e"), "/routes/0/path", "percent signs", None),
    (route(path="/a\n"), "/routes/0/path", "control characters", None),
    (route(path='/a"{'), "/routes/0/path", "must begin with `/`", None),
    (route(path="/a?b"), "/routes/0/path", "query", None),
    (route(portIndex=2), "/routes/0/portIndex", "there is no port 2", None),
    (route(pathKind="glob"), "/routes/0/pathKind", "must be one of", None),
    (route(pathKind="regex", path="/("), "/routes/0/path", "is no regular expression", None),
    (route(pathKind="regex", path="/a{99999999999}"), "/routes/0/path", "is no regular expression", None),
    (route(pathKind="regex", path="/é"), "/routes/0/path", "visible ASCII", None),
    (route(pathKind="regex", path="/" + "a" * 512), "/routes/0/path", "at most 512", None),
    (route(pathKind="regex", path="/(?P<x>a)"), "/routes/0/path", "`(?` is not understood", None),
    (route(pathKind="regex", path="/\\Qa"), "/routes/0/path", "is not understood", None),
    (route(pathKind="regex", path="/a*+"), "/routes/0/path", "`*+` is not understood", None),
    (route(pathKind="exact", path="/a/../b"), "/routes/0/path", "must not contain `..`", None),
    (route(methods=["get"]), "/routes/0/methods/0", "is no method", None),
    (route(priority=1001), "/routes/0/priority", "at most 1000", None),
    (route(headers={"a_b": "1"}), "/routes/0/headers/a_b", "letters, digits and `-`", None),
    (route(headers={"Host": "x"}), "/routes/0/headers/Host", "headers of the connection", None),
    (route(headers={"X-A": "1", "x-a": "2"}), "/routes/0/headers/x-a", "named twice", None),
    (route(headers={"X-A": "1\n"}), "/routes/0/headers/X-A", "visible ASCII", None),
    (route(balance="leastconnections"), "/routes/0/balance", "must be one of", "least_connections"),
    (
        {"routes": [{"domains": ["a"], "path": "/x"}, {"domains": ["A"], "path": "/x/"}]},
        "/routes/1/domains/0",
        "",
        None,
    ),
    (filtered(rewrite="x"), "/routes/0/filters/rewrite", "must begin with `/`", None),
    (filtered(rewrite="/../x"), "/routes/0/filters/rewrite", "must not contain `..`", None),
    (filtered(path="/(a)", pathKind="regex", rewrite="/$2"), "/routes/0/filters/rewrite", "`$2` is no group", None),
    (filtered(path="/(a)", pathKind="regex", rewrite="/$x"), "/routes/0/filters/rewrite", "`$` is no group", None),
    (filtered(redirect={}), "/routes/0/filters/redirect", "leads to where the request is", None),
    (filtered(redirect={"path": "/x", "status": 305}), "/routes/0/filters/redirect/status", "one of 301, 302", None),
    (filtered(redirect={"domain": "A/b"}), "/routes/0/filters/redirect/domain", "is no host name", None),
    (filtered(redirect={"path": "/x"}, tries=1), "/routes/0/filters", "no instance sees a request", None),
    (filtered(tries=0), "/routes/0/filters/tries", "at least 1", None),
    (filtered(requestHeaders={}), "/routes/0/filters/requestHeaders", "changes nothing", None),
    (
        filtered(requestHeaders={"set": {"x-real-ip": "1"}}),
        "/routes/0/filters/requestHeaders/set/x-real-ip",
        "own",
        None,
    ),
    (filtered(responseHeaders={"remove": ["Connection"]}), "/routes/0/filters/responseHeaders/remove/0", "own", None),
    (filtered(limits=[]), "/routes/0/filters/limits", "1 to 8 members", None),
    (filtered(limits=[{}]), "/routes/0/filters/limits/0", "either `rate` or `concurrency`", None),
    (filtered(limits=[{"rate": 1, "concurrency": 1}]), "/routes/0/filters/limits/0", "either `rate`", None),
    (filtered(limits=[{"concurrency": 1, "burst": 2}]), "/routes/0/filters/limits/0", "are of a `rate`", None),
    (
        filtered(limits=[{"concurrency": 1, "showRemaining": True}]),
        "/routes/0/filters/limits/0/showRemaining",
        "only of a `rate`",
        None,
    ),
    (filtered(limits=[{"rate": 0}]), "/routes/0/filters/limits/0/rate", "above 0", None),
    (
        filtered(limits=[{"rate": 1, "queue": {"length": 1, "seconds": 1}}]),
        "/routes/0/filters/limits/0/queue",
        "wait only for",
        None,
    ),
    (filtered(limits=[{"rate": 1}, {"rate": 2}]), "/routes/0/filters/limits/1", "by route is given twice", None),
    (filtered(limits=[{"rate": 1, "by": "adress"}]), "/routes/0/filters/limits/0/by", "one of", "address"),
    (filtered(ejection={"seconds": 9, "secondsMax": 8}), "/routes/0/filters/ejection/secondsMax", "less than", None),
    (filtered(importance="top"), "/routes/0/filters/importance", "one of", None),
    (filtered(responseHeaders={"set": {"X": "a\nb"}}), "/routes/0/filters/responseHeaders/set/X", "ASCII", None),
]

FIREWALL = "/routes/0/filters/firewall"
WRONG += [
    (filtered(protocol="grpc", bodyBytesMax=1), "/routes/0/filters", "both ways at once", None),
    (filtered(protocol="grpc", firewall={}), "/routes/0/filters", "both ways at once", None),
    (filtered(firewall={"mode": "blok"}), f"{FIREWALL}/mode", "must be one of", "block"),
    (filtered(firewall={"sets": ["sql"]}), f"{FIREWALL}/sets/0", "must be one of", "sqli"),
    (filtered(firewall={"paranoia": 5}), f"{FIREWALL}/paranoia", "at most 4", None),
    (filtered(firewall={"threshold": 0}), f"{FIREWALL}/threshold", "at least 1", None),
    (filtered(firewall={"inspectedBytesMax": 131_073}), f"{FIREWALL}/inspectedBytesMax", "at most 131072", None),
    (filtered(firewall={"methods": []}), f"{FIREWALL}/methods", "no request through", None),
    (filtered(firewall={"methods": ["GET '"]}), f"{FIREWALL}/methods/0", "is no method", None),
    (filtered(firewall={"exclusions": [{"rule": 9}]}), f"{FIREWALL}/exclusions/0/rule", "at least 910000", None),
    (filtered(redirect={"path": "/x"}, firewall={}), "/routes/0/filters", "no instance sees a request", None),
    (
        filtered(firewall={"exclusions": [{"rule": 942100}, {"rule": 942100}]}),
        f"{FIREWALL}/exclusions/1",
        "is excluded so already",
        None,
    ),
    (
        filtered(firewall={"exclusions": [{"rule": 942100, "parameter": "a", "cookie": "a"}]}),
        f"{FIREWALL}/exclusions/0",
        "give one of parameter, cookie",
        None,
    ),
    *(
        (
            filtered(firewall={"exclusions": [{"rule": 942100, kind: name}]}),
            f"{FIREWALL}/exclusions/0/{kind}",
            "is no plain name",
            None,
        )
        for kind, name in (("parameter", 'q"'), ("header", "X\n"), ("cookie", "a;b"), ("parameter", ""))
    ),
]


@pytest.mark.parametrize(("fields", "path", "reason", "suggestion"), WRONG)
def test_what_is_wrong_is_said_once_with_its_place(
    fields: dict[str, Any], path: str, reason: str, suggestion: str | None
) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_app(definition(*fields["routes"]))
    (problem,) = caught.value.problems
    assert (problem.path, problem.suggestion) == (path, suggestion)
    assert reason in problem.reason


def test_what_makes_no_difference_is_not_kept() -> None:
    (one, exact) = decode_app(
        definition(
            {"domains": ["Shop.Example", "*.Shop.example", "*"], "path": "/cart/"},
            {"domains": ["shop.example"], "path": "/cart/", "pathKind": "exact"},
        )
    ).routes
    assert (one.domains, one.path) == (("shop.example", "*.shop.example", "*"), "/cart")
    assert exact.path == "/cart/"


@pytest.mark.parametrize("pattern", ["/", r"/v[0-9]+/.*", r"/(a|b)?/\d{2,}\.html", r"/[^/]+/\(x\)", "(?:/a)+"])
def test_patterns_of_both_worlds_are_taken(pattern: str) -> None:
    app = decode_app(definition({"domains": ["a"], "path": pattern, "pathKind": "regex", "headers": {"X-A": "*"}}))
    assert app.routes[0].path == pattern
    assert decode_app(encode_app(app)) == app
