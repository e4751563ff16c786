"""network request: what the API is sent to add a pool or to create a network of containers, and to change a pool."""

from contextlib import suppress
from typing import TypeVar

from coldchain.decisions.pool import BLOCK_BITS_MAX, default_block_length, network_of
from coldchain.documents.findings import Findings, TooMany
from coldchain.documents.rules import NETWORK_NAME
from coldchain.documents.shape import read
from coldchain.model.base import Noun
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import InvalidDocument, Problem
from coldchain.model.pool import Pool

TAKEN = ("bridge", "host", "none", "default", "container")
"""What Docker itself calls networks, or takes for something else."""

N = TypeVar("N", bound=Noun)


class PoolRequest(Noun, frozen=True, kw_only=True):
    """A pool to add. `block_length` null: blocks of 64 addresses."""

    name: str
    cidr: str
    block_length: int | None = None
    nat_outgoing: bool = False


class PoolChange(Noun, frozen=True, kw_only=True):
    """What a pool is to be from now on; null: as it is."""

    disabled: bool | None = None
    nat_outgoing: bool | None = None


class ContainerNetworkRequest(Noun, frozen=True, kw_only=True):
    """A network of containers to create. `pool6` empty: none of IPv6."""

    name: str
    pool: str
    pool6: str = ""
    isolated: bool = False


def decode_pool(document: object) -> Pool:
    """Raises InvalidDocument with everything that is wrong but for what stands in the store."""
    request, found = _read(PoolRequest, document)
    problems = [*found, *_name_problems(request.name, found)]
    length = request.block_length
    if length is None:
        try:
            length = default_block_length(request.cidr)
        except ValueError:
            length = 32 - BLOCK_BITS_MAX  # the address is wrong, and that is said of it
    if problems:
        raise InvalidDocument(problems)
    return Pool(name=request.name, cidr=_plain(request.cidr), block_length=length, nat_outgoing=request.nat_outgoing)


def decode_pool_change(document: object) -> PoolChange:
    """Raises InvalidDocument."""
    request, found = _read(PoolChange, document)
    if found:
        raise InvalidDocument(found)
    return request


def decode_container_network(document: object) -> ContainerNetwork:
    """Raises InvalidDocument with everything that is wrong but for what stands in the store."""
    request, found = _read(ContainerNetworkRequest, document)
    problems = [*found, *_name_problems(request.name, found)]
    if request.name in TAKEN:
        problems.append(Problem(path="/name", reason=f"{request.name!r} is Docker's own word"))
    if problems:
        raise InvalidDocument(problems)
    return ContainerNetwork(name=request.name, pool=request.pool, pool6=request.pool6, isolated=request.isolated)


def _read(kind: type[N], document: object) -> tuple[N, list[Problem]]:
    findings, request = Findings(), None
    with suppress(TooMany):
        request = read(kind, document, findings, {})
    problems = list(findings.problems(document))
    if request is None:
        raise InvalidDocument(problems)
    return request, problems


def _name_problems(name: str, found: list[Problem]) -> list[Problem]:
    if NETWORK_NAME.fullmatch(name) or any(one.path == "/name" for one in found):
        return []
    return [
        Problem(path="/name", reason="must be letters, digits and `_.-`, at most 63, the first a letter or a digit")
    ]


def _plain(cidr: str) -> str:
    """In the one way in which it is written; what is no network stays, and is refused."""
    try:
        return str(network_of(cidr))
    except ValueError:
        return cidr
