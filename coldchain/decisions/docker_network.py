"""docker network: which networks Docker shall have on a machine, and what is wrong with one it is asked to make."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from coldchain.model.container_network import ContainerNetwork
from coldchain.model.docker_network import DockerNetwork
from coldchain.model.errors import InvalidDocument, NotFound, Problem, Rejected
from coldchain.model.pool import Pool


class Create(NamedTuple):
    """A network that Docker has not."""

    name: str
    subnet: str
    subnet6: str


class Remove(NamedTuple):
    """A network of ours that nobody wants and that nobody is in."""

    id: str
    name: str


class Trouble(NamedTuple):
    """A network with which nothing is done, and why."""

    name: str
    reason: str


Step = Create | Remove | Trouble


def steps(
    networks: Sequence[ContainerNetwork], pools: Mapping[str, Pool], present: Sequence[DockerNetwork], driver: str
) -> list[Step]:
    """What makes Docker have exactly the networks of the store. Those of other drivers are left alone."""
    named = {one.name: one for one in present}
    wanted = {network.name: network for network in networks}
    found = list(_unwanted(wanted, present, driver))
    for network in sorted(networks, key=lambda one: one.name):
        found += _of_network(network, pools, named.get(network.name), driver)
    return found


def _unwanted(wanted: Mapping[str, ContainerNetwork], present: Sequence[DockerNetwork], driver: str) -> Iterator[Step]:
    for one in sorted(present, key=lambda one: one.name):
        if one.driver == driver and one.network and not {one.network, one.name} & wanted.keys():
            yield _removal(one, "the network was removed")


def _of_network(
    network: ContainerNetwork, pools: Mapping[str, Pool], found: DockerNetwork | None, driver: str
) -> Iterator[Step]:
    missing = [name for name in (network.pool, network.pool6) if name and name not in pools]
    if missing:
        yield Trouble(network.name, f"there is no pool {missing[0]}: `coldchain pool add` it")
        return
    create = Create(network.name, pools[network.pool].cidr, pools[network.pool6].cidr if network.pool6 else "")
    if found is None:
        yield create
    elif found.driver != driver:
        yield Trouble(network.name, f"Docker has a network of this name by driver {found.driver}, which is left alone")
    elif (found.network, found.subnet, found.subnet6) != (network.name, create.subnet, create.subnet6):
        yield _removal(found, "Docker's network of this name has other addresses")
        if not found.endpoints:
            yield create


def _removal(found: DockerNetwork, why: str) -> Step:
    if not found.endpoints:
        return Remove(found.id, found.name)
    return Trouble(found.name, f"{why}; it goes once nobody is in it (containers now: {len(found.endpoints)})")


def check_pool_wanted(cidr: str, sub_pool: str, pool: Pool | None, *, ipv6: bool) -> None:
    """Raises NotFound, Rejected."""
    family = "IPv6" if ipv6 else "IPv4"
    if not cidr:
        raise Rejected(
            f"the network names no addresses of {family}",
            todo="Let `coldchain network create` make it, or give --subnet with a pool of `coldchain pool list`",
        )
    if sub_pool:
        raise Rejected(
            f"a part of a pool ({sub_pool}) cannot be had",
            todo="Leave out --ip-range: each machine takes blocks of the pool as it needs them",
        )
    if pool is None:
        raise NotFound(f"{cidr} is no pool of the container network", todo="`coldchain pool list` shows them")


def network_of(
    options: Mapping[str, object],
    pools: Sequence[Pool],
    pools6: Sequence[Pool],
    networks: Mapping[str, ContainerNetwork],
    option: str,
) -> ContainerNetwork:
    """The network that Docker shall make by these options, with addresses of these pools. Raises InvalidDocument,
    NotFound, Rejected."""
    unknown = sorted(options.keys() - {option})
    if unknown:
        reason = f"no option of a network of Coldchain: it knows {option}"
        raise InvalidDocument([Problem(path=name, reason=reason) for name in unknown])
    name = options.get(option)
    if not isinstance(name, str) or not name:
        raise Rejected(
            "the network does not say which container network it is",
            todo=f"`coldchain network create` makes it on every machine; by hand it needs -o {option}=NAME",
        )
    network = networks.get(name)
    if network is None:
        raise NotFound(f"there is no container network {name}", todo=f"`coldchain network create {name} --pool …`")
    _check_pools(network, [one.name for one in pools], network.pool, "IPv4")
    _check_pools(network, [one.name for one in pools6], network.pool6, "IPv6")
    return network


def _check_pools(network: ContainerNetwork, given: Sequence[str], wanted: str, family: str) -> None:
    if list(given) == ([wanted] if wanted else []):
        return
    has = f"has its addresses of {family} from pool {wanted}" if wanted else f"has no addresses of {family}"
    said = f"not from {' and '.join(given)}" if given else "which were not asked for"
    raise Rejected(
        f"container network {network.name} {has}" + (f", {said}" if wanted else ""),
        todo="Let netd make the network, which gives Docker the right addresses, or leave out --ipv6"
        if not wanted
        else "Let netd make the network, which gives Docker the right addresses",
    )
