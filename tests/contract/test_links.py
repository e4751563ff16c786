"""What all links of containers do; the real ones in a network namespace of the sandbox."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from coldchain.model.errors import Unavailable
from coldchain.network.links import NetlinkLinks, interface_of
from coldchain.ports.network import Link, Links, host_name, peer_name
from coldchain.ports.tunnel import TUNNEL
from coldchain.testing.fake_links import FakeLinks
from coldchain.testing.sandbox import inside

NODE, UPLINK, MTU = "10.99.0.1", "uplink", 1450


def link(letter: str, address: str, address6: str = "") -> Link:
    return Link(
        host=host_name(letter * 64),
        peer=peer_name(letter * 64),
        address=address,
        mac=f"02:42:0a:63:01:0{'abcdef'.index(letter)}",
        mtu=MTU,
        source=NODE,
        address6=address6,
    )


A, B = link("a", "10.99.1.1"), link("b", "10.99.1.2")


def ip(*words: str) -> list[dict[str, object]]:
    done = subprocess.run(["ip", "-j", "-d", *words], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout or "[]"))


@pytest.fixture
def uplink() -> Iterator[None]:
    """An interface with the node's address, as a machine has one; gone afterwards, with all links."""
    assert inside(), "links are made inside the sandbox only; run this through bin/test"
    subprocess.run(["ip", "link", "add", UPLINK, "mtu", str(MTU), "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", f"{NODE}/24", "dev", UPLINK], check=True)
    subprocess.run(["ip", "link", "set", UPLINK, "up"], check=True)
    yield
    for one in [UPLINK, *(str(one["ifname"]) for one in ip("link", "show", "type", "veth"))]:
        subprocess.run(["ip", "link", "del", one], check=False, capture_output=True)


@pytest.fixture(params=["fake", "netlink"])
def links(request: pytest.FixtureRequest) -> Links:
    if request.param == "fake":
        return FakeLinks({UPLINK: MTU})
    request.getfixturevalue("uplink")
    return NetlinkLinks()


async def test_links_are_made_and_taken_away(links: Links) -> None:
    assert await links.present() == []
    await links.add(B)
    await links.add(A)
    assert await links.present() == [A.host, B.host]
    await links.remove(A.host)
    assert await links.present() == [B.host]
    await links.remove(A.host)
    assert await links.present() == [B.host]


async def test_one_of_the_same_name_is_replaced(links: Links) -> None:
    await links.add(A)
    await links.add(A)
    assert await links.present() == [A.host]


async def test_what_the_kernel_refuses_leaves_nothing(uplink: None) -> None:
    with pytest.raises(Unavailable, match=rf"link {A.host} cannot be made: Invalid argument"):
        await NetlinkLinks().add(structs.replace(A, source="192.0.2.1"))
    assert await NetlinkLinks().present() == []


async def test_an_address_leads_to_the_last_link_that_has_it(uplink: None) -> None:
    """A link of a container that has gone may still be there when another one gets its address."""
    old, new = link("a", A.address, "fd99::3"), link("b", A.address, "fd99::3")
    await NetlinkLinks().add(old)
    await NetlinkLinks().add(new)
    assert [route["dev"] for route in ip("route", "show", A.address)] == [new.host]
    assert [route["dev"] for route in ip("-6", "route", "show", "fd99::3")] == [new.host]
    await NetlinkLinks().remove(old.host)
    assert [route["dev"] for route in ip("route", "show", A.address)] == [new.host]


async def test_the_size_of_packets_is_that_of_the_interface(links: Links) -> None:
    assert await links.mtu(UPLINK) == MTU
    if isinstance(links, NetlinkLinks):
        assert await links.mtu("lo") == 65535
        subprocess.run(["ip", "link", "add", TUNNEL, "mtu", str(MTU - 50), "type", "bridge"], check=True)
        assert await links.mtu(UPLINK) == MTU - 50
        subprocess.run(["ip", "link", "del", TUNNEL], check=True)
    with pytest.raises(Unavailable, match="interface nothing is not known: no such interface"):
        await links.mtu("nothing")


async def test_what_the_kernel_has_of_a_link(uplink: None) -> None:
    await NetlinkLinks().add(A)
    (host,) = ip("link", "show", "dev", A.host)
    (peer,) = ip("link", "show", "dev", A.peer)
    assert (host["address"], peer["address"]) == ("ee:ee:ee:ee:ee:ee", A.mac)
    assert (host["mtu"], peer["mtu"]) == (MTU, MTU)
    assert "UP" in str(host["flags"])
    (route,) = ip("route", "show", "dev", A.host)
    assert (route["dst"], route["scope"], route["prefsrc"]) == (A.address, "link", NODE)
    (neighbour,) = ip("neigh", "show", "dev", A.host)
    assert (neighbour["dst"], neighbour["lladdr"], neighbour["state"]) == (A.address, A.mac, ["PERMANENT"])
    (address,) = ip("address", "show", "dev", A.host)[0]["addr_info"]  # type: ignore[misc]
    assert (address["local"], address["prefixlen"], address["scope"]) == ("169.254.1.1", 32, "link")  # type: ignore[index]
    for name, value in (("rp_filter", "1"), ("forwarding", "1"), ("proxy_arp", "0")):
        setting = Path(f"/proc/sys/net/ipv4/conf/{A.host}/{name}").read_text().strip()
        assert (name, setting) == (name, value)


async def test_a_link_with_ipv6(uplink: None) -> None:
    both = link("c", "10.99.1.3", "fd99::3")
    await NetlinkLinks().add(both)
    routes = [route["dst"] for route in ip("-6", "route", "show", "dev", both.host)]
    assert "fd99::3" in routes
    addresses = [one["local"] for one in ip("-6", "address", "show", "dev", both.host)[0]["addr_info"]]  # type: ignore[index, attr-defined]
    assert "fe80::1" in addresses
    neighbours = {one["dst"]: one["state"] for one in ip("-6", "neigh", "show", "dev", both.host)}
    assert neighbours["fd99::3"] == ["PERMANENT"]


async def test_links_of_others_are_not_ours(uplink: None) -> None:
    subprocess.run(["ip", "link", "add", "cnother", "type", "veth", "peer", "name", "other"], check=True)
    assert await NetlinkLinks().present() == []


async def test_an_interface_is_found_by_its_address(uplink: None) -> None:
    assert await interface_of(NODE) == UPLINK
    assert await interface_of("192.0.2.1") == ""
