"""Dubbo's URLs, rules and JSON: what is read and what is written, and that what makes no sense is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.documents import dubbo_instances, dubbo_rules, dubbo_url
from coldchain.documents.application import decode_app
from coldchain.model.app import DubboQos
from coldchain.model.dubbo import (
    Announcement,
    Configurator,
    Consumer,
    DubboUrl,
    Export,
    Match,
    Process,
    Provided,
    RouterRule,
)
from coldchain.model.errors import InvalidDocument

NODE = (
    "dubbo%3A%2F%2F10.0.0.2%3A20880%2Fcom.example.Basket%3Fanyhost%3Dtrue%26application%3Dbasket%26group%3Dg%26"
    "interface%3Dcom.example.Basket%26methods%3Dadd%2Cclear%26add.weight%3D7%26timestamp%3D1600000000000%26"
    "version%3D1.0.0%26warmup%3D60000%26weight%3D50"
)
WORDS = st.text("abcXYZ019._-*$,", min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_characters="&=#\r\n", exclude_categories=("Cs",)), max_size=12)
HOSTS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9-]{0,9}(\.[a-z0-9]{1,5}){0,2}", fullmatch=True),
    st.ip_addresses().map(str),
)
URLS = st.builds(
    DubboUrl,
    protocol=st.sampled_from(["dubbo", "override", "empty", "condition"]),
    host=HOSTS,
    port=st.integers(0, 65535),
    path=st.from_regex(r"[A-Za-z0-9._$]{0,20}", fullmatch=True),
    username=st.from_regex(r"[a-z]{0,5}", fullmatch=True),
    parameters=st.dictionaries(WORDS, TEXTS, max_size=5),
)


@given(URLS)
def test_every_url_is_read_as_it_was_written(url: DubboUrl) -> None:
    assert dubbo_url.parse_node(dubbo_url.render_node(url)) == url
    assert "/" not in dubbo_url.render_node(url)


@given(st.text(max_size=60))
def test_whatever_a_node_is_called_it_is_a_url_or_refused_with_words(name: str) -> None:
    found, wrong = dubbo_url.readable([name], lambda url: url)
    assert len(found) + len(wrong) == 1
    assert all(url.host for url in found)


def test_a_provider_as_java_writes_it() -> None:
    one = dubbo_url.provider(dubbo_url.parse_node(NODE))
    assert one is not None
    assert (one.address, one.group, one.version, one.application) == ("10.0.0.2:20880", "g", "1.0.0", "basket")
    assert one.methods == ("add", "clear")
    assert (one.weight, one.weight_of("add"), one.weight_of("clear")) == (50, 7, 50)
    assert (one.started_at, one.warmup_seconds, one.enabled) == (1600000000.0, 60.0, True)
    assert str(one.export) == "g/com.example.Basket:1.0.0"


def test_a_provider_that_says_little_is_what_dubbo_takes_it_for() -> None:
    one = dubbo_url.provider(dubbo_url.parse_url("dubbo://h:1/a.B?version=0.0.0&weight=heavy"))
    assert one is not None
    assert (one.interface, one.version, one.weight, one.warmup_seconds, one.started_at) == ("a.B", "", 100, 600.0, 0)


def test_one_node_that_makes_no_sense_does_not_hide_the_others() -> None:
    found, wrong = dubbo_url.readable([NODE, "dubbo%3A%2F%2F", "empty%3A%2F%2Fh%2Fa.B", "x"], dubbo_url.provider)
    assert [one.address for one in found] == ["10.0.0.2:20880"]
    assert len(wrong) == 2
    assert all("is no URL of Dubbo" in words for words in wrong)


def test_a_configurator() -> None:
    text = (
        "override://10.0.0.2:20880/a.B?application=shop&category=configurators&dynamic=false&enabled=true&group=g"
        "&priority=3&~zone=east&~any=*&weight=5&disabled=true&side=consumer&providerAddresses=10.0.0.2:20880,h"
    )
    assert dubbo_url.configurator(dubbo_url.parse_url(text)) == Configurator(
        export=Export(interface="a.B", group="g"),
        host="10.0.0.2",
        port=20880,
        application="shop",
        addresses=("10.0.0.2:20880", "h"),
        conditions={"zone": "east"},
        parameters={"weight": "5", "disabled": "true"},
        priority=3,
        side="consumer",
    )
    absent = dubbo_url.configurator(dubbo_url.parse_url("absent://0.0.0.0/a.B?enabled=false&timeout=1"))
    assert absent is not None
    assert (absent.absent, absent.enabled, absent.parameters) == (True, False, {"timeout": "1"})
    assert dubbo_url.configurator(dubbo_url.parse_url("empty://0.0.0.0/a.B")) is None
    with pytest.raises(ValueError, match="dubbo:// is no configurator"):
        dubbo_url.configurator(dubbo_url.parse_url("dubbo://h:1/a.B"))


def test_a_router_and_that_no_script_is_run() -> None:
    text = "{}://0.0.0.0/a.B?force=true&name=n&priority=2&router=condition&rule=host+%3D+10.*+%3D%3E+false"
    rule = RouterRule(when=(Match(key="host", matches=("10.*",)),), force=True, priority=2, name="n")
    for protocol in ("condition", "route"):
        assert dubbo_url.router(dubbo_url.parse_url(text.format(protocol))) == rule
    assert dubbo_url.router(dubbo_url.parse_url("condition://0.0.0.0/a.B?enabled=false&rule=a=b")) is None
    with pytest.raises(ValueError, match="kind 'script' is not run"):
        dubbo_url.router(dubbo_url.parse_url("script://0.0.0.0/a.B?rule=x"))


def test_our_own_configurators_are_told_from_those_of_others() -> None:
    mark = Announcement(export=Export(interface="a.B", version="1"), host="10.0.0.2", port=20880, started="16")
    url = dubbo_url.switched_off_url(mark, "me")
    assert dubbo_url.render_url(url) == (
        "override://10.0.0.2:20880/a.B?category=configurators&coldchain.controller=me&coldchain.of=16&disabled=true"
        "&dynamic=false&enabled=true&version=1"
    )
    assert dubbo_url.switched_off(dubbo_url.parse_node(dubbo_url.render_node(url)), "me") == mark
    assert dubbo_url.switched_off(url, "somebody else") is None
    said = dubbo_url.configurator(url)
    assert said is not None
    assert said.parameters["disabled"] == "true"


def test_a_consumer_is_announced_as_dubbo_does_it() -> None:
    consumer = Consumer(host="10.0.0.9", application="shop", parameters={"pid": "7"})
    assert dubbo_url.render_url(dubbo_url.consumer_url(consumer, Export(interface="a.B", group="g"))) == (
        "consumer://10.0.0.9/a.B?application=shop&category=consumers&check=false&group=g&interface=a.B&pid=7"
        "&side=consumer"
    )


@pytest.mark.parametrize(
    ("text", "when", "then"),
    [
        (
            "host = 10.20.3.1,10.20.3.2 & method != get* => host != $host & address = 10.0.0.2:20880",
            (
                Match(key="host", matches=("10.20.3.1", "10.20.3.2")),
                Match(key="method", mismatches=("get*",)),
            ),
            (
                Match(key="host", mismatches=("$host",)),
                Match(key="address", matches=("10.0.0.2:20880",)),
            ),
        ),
        (" => host = h", (), (Match(key="host", matches=("h",)),)),
        ("true => false", (), None),
        ("host=h", (), (Match(key="host", matches=("h",)),)),
        ("a => ", (Match(key="a"),), None),
    ],
)
def test_a_condition(text: str, when: tuple[Match, ...], then: tuple[Match, ...] | None) -> None:
    assert dubbo_rules.condition_rule(text) == RouterRule(when=when, then=then)


@pytest.mark.parametrize("text", ["= a => b = c", "a = b, => c = d ,, e", "a ! b => c", "a, b => c = d", "a b => c=d"])
def test_a_condition_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="makes no sense at"):
        dubbo_rules.condition_rule(text)


def test_documents_of_rules() -> None:
    service = """
    configVersion: v2.7
    scope: service
    key: a.B:1.0:g
    enabled: true
    configs:
      - addresses: ["0.0.0.0", "10.0.0.9"]
        applications: [shop]
        side: consumer
        providerAddresses: ["10.0.0.2:20880"]
        parameters: {disabled: true, weight: 7}
      - addresses: ["10.0.0.2:20880"]
        side: provider
        enabled: false
        parameters: {timeout: 5}
    """
    export = Export(interface="a.B", group="g", version="1.0")
    said = {"disabled": "true", "weight": "7"}
    one = Configurator(
        export=export, application="shop", addresses=("10.0.0.2:20880",), parameters=said, side="consumer"
    )
    other = Configurator(
        export=export, host="10.0.0.2", port=20880, parameters={"timeout": "5"}, enabled=False, side="provider"
    )
    first, second, third = dubbo_rules.configurators(service)
    assert (first, third) == (one, other)
    assert second.host == "10.0.0.9"
    application = "{scope: application, key: shop, configs: [{services: [a.B, c.D], parameters: {weight: 1}}]}"
    found = dubbo_rules.configurators(application)
    assert [(each.application, each.export.interface) for each in found] == [("shop", "a.B"), ("shop", "c.D")]
    assert dubbo_rules.configurators("{enabled: false, configs: [{}]}") == ()
    rules = dubbo_rules.router_rules("{force: true, priority: 4, conditions: ['=> host = h', 'method = m => false']}")
    assert [(rule.force, rule.priority, rule.then is None) for rule in rules] == [(True, 4, False), (True, 4, True)]
    assert dubbo_rules.router_rules("enabled: false") == ()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{configs: 1}",
        "{configs: [1]}",
        "{configs: [{parameters: [1]}]}",
        "{configs: [{addresses: x}]}",
        "{configs: [{parameters: {weight: {}}}]}",
        "a: [",
        "{conditions: [[x]]}",
        "!!python/object/apply:os.system [id]",
    ],
)
def test_a_document_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        dubbo_rules.configurators(text)
        dubbo_rules.router_rules(text)


@pytest.mark.parametrize(
    ("text", "export"),
    [
        ("a.B", Export(interface="a.B")),
        ("a.B::", Export(interface="a.B")),
        ("a.B:1.0:g", Export(interface="a.B", group="g", version="1.0")),
        ("a.B::g", Export(interface="a.B", group="g")),
        ("g/a.B:1.0", Export(interface="a.B", group="g", version="1.0")),
        ("a.B:0.0.0", Export(interface="a.B")),
    ],
)
def test_the_key_of_a_service(text: str, export: Export) -> None:
    assert dubbo_rules.service_key(text) == export


def test_processes_and_their_metadata() -> None:
    instance = (
        rb'{"name":"basket","id":"10.0.0.2:20880","address":"10.0.0.2","port":20880,"sslPort":null,"payload":{"@class":'
        rb'"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","metadata":{"dubbo.endpoints":"[{\"port\":20881,'
        rb'\"protocol\":\"dubbo\"},{\"port\":50051,\"protocol\":\"tri\"}]","dubbo.metadata.revision":"r1"}},'
        rb'"serviceType":"DYNAMIC"}'
    )
    assert dubbo_instances.process(instance) == Process(
        application="basket", host="10.0.0.2", ports={"dubbo": 20881, "tri": 50051}, revision="r1"
    )
    assert dubbo_instances.process(b'{"name":"a","address":"h","enabled":false}') is None
    text = (
        b'{"app":"basket","revision":"r1","services":{"g/a.B:1:dubbo":{"name":"a.B","group":"g","version":"1",'
        b'"protocol":"dubbo","port":20881,"path":"a.B","params":{"methods":"add","timeout":3000}}}}'
    )
    parameters = {"methods": "add", "timeout": "3000", "group": "g", "version": "1"}
    assert dubbo_instances.metadata(text) == (Provided(interface="a.B", port=20881, parameters=parameters),)
    assert dubbo_instances.mapping(b"b, a,,a") == ("a", "b")
    for wrong in (b"", b"[]", b'{"name": 1, "address": "h"}', b"[" * 100_000):
        with pytest.raises(ValueError, match="is not what it should be"):
            dubbo_instances.process(wrong)


@pytest.mark.parametrize(
    ("dubbo", "path", "reason", "suggestion"),
    [
        ({"registry": "zk://h:1"}, "/dubbo/registry", "'zk://h:1' is no address: zk://HOST:PORT", "zk://h:1/dubbo"),
        ({"registry": "zookeeper://h:1/d"}, "/dubbo/registry", "is no address", "zk://h:1/d"),
        ({"registry": "zk://me:word@h:1/d"}, "/dubbo/registry", "is no address", None),
        (
            {"registry": "zk://h:1,i:2/d/e", "interfaces": ["g/a.B:1", "a b"]},
            "/dubbo/interfaces/1",
            "'a b' is not [GROUP/]INTERFACE[:VERSION]",
            None,
        ),
        ({}, "/dubbo/registry", "is missing", None),
        (
            {"registry": "zk://h:1/d", "qos": {"portName": "qso"}},
            "/dubbo/qos/portName",
            "no port of the app has the name 'qso'",
            None,
        ),
        ({"registry": "zk://h:1/d", "qos": {"port": 0}}, "/dubbo/qos/port", "", None),
        ({"registry": "zk://h:1/d", "qos": {"prot": 1}}, "/dubbo/qos/prot", "", "port"),
    ],
)
def test_what_is_wrong_with_what_an_app_says_of_dubbo(
    dubbo: dict[str, object], path: str, reason: str, suggestion: str | None
) -> None:
    with pytest.raises(InvalidDocument) as refused:
        decode_app({"id": "/a", "cmd": "serve", "dubbo": dubbo})
    (problem,) = refused.value.problems
    assert (problem.path, problem.suggestion) == (path, suggestion)
    assert reason in problem.reason


def test_providers_of_dubbo_are_told_by_a_port() -> None:
    dubbo = {"registry": "zk://h:1/d"}
    assert decode_app({"id": "/a", "cmd": "serve", "dubbo": dubbo}).dubbo is not None
    with pytest.raises(InvalidDocument, match="/dubbo: needs a port"):
        decode_app({"id": "/a", "cmd": "serve", "dubbo": dubbo, "portDefinitions": []})


def test_qos_is_asked_at_its_own_port_or_at_one_of_the_app() -> None:
    ports = [{"name": "dubbo"}, {"name": "qos"}]
    definition = {"id": "/a", "cmd": "serve", "portDefinitions": ports}
    for qos, found in (
        ({}, DubboQos(port=22222)),
        ({"port": 33333}, DubboQos(port=33333)),
        ({"portName": "qos"}, DubboQos(port_name="qos")),
    ):
        app = decode_app(definition | {"dubbo": {"registry": "zk://h:1/d", "qos": qos}})
        assert app.dubbo is not None
        assert app.dubbo.qos == found
