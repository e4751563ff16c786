"""network check: whether pools, blocks, nodes and attachments in the store agree, as of one moment."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from coldchain.decisions.pool import block_of, contains, overlapping
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.network_finding import NetworkFinding
from coldchain.model.node import Node
from coldchain.model.pool import Block, Holding, Pool

ASK_NETD = "netd on {node} puts it right by itself; where it stays, see whether it runs: `coldchain network doctor`."


def findings(
    pools: Sequence[Pool],
    blocks: Sequence[Block],
    networks: Sequence[ContainerNetwork],
    nodes: Sequence[Node],
    attachments: Sequence[Attachment],
) -> list[NetworkFinding]:
    """All that is wrong, in the order of what it is about."""
    by_name = {one.name: one for one in pools}
    known = {one.name for one in nodes}
    return [
        *_of_removed_nodes(blocks, attachments, known),
        *_of_pools(pools, networks, nodes),
        *_of_blocks(by_name, blocks),
        *_of_attachments(pools, _held(blocks), attachments, known),
        *_of_holdings(blocks, attachments, known),
    ]


def _of_removed_nodes(
    blocks: Iterable[Block], attachments: Iterable[Attachment], known: set[str]
) -> Iterator[NetworkFinding]:
    count: dict[str, int] = {}
    for block in blocks:
        if block.node:
            count.setdefault(block.node, 0)
        for holding in block.held.values():
            if holding.node:
                count[holding.node] = count.get(holding.node, 0) + 1
    for attachment in attachments:
        count.setdefault(attachment.node, 0)
    for node in sorted(count.keys() - known):
        yield NetworkFinding(
            kind="removed node",
            subject=node,
            node=node,
            says=f"there is no node {node}, and it holds {count[node]} addresses",
            todo="With --repair others get them. Not while that machine runs containers: `coldchain node join` there.",
            repair=True,
        )


def _of_pools(
    pools: Sequence[Pool], networks: Iterable[ContainerNetwork], nodes: Iterable[Node]
) -> Iterator[NetworkFinding]:
    for node in nodes:
        for pool in pools:
            for address in filter(None, (node.address, node.address6)):
                if overlapping(pool.cidr, address):
                    yield NetworkFinding(
                        kind="overlap",
                        subject=pool.name,
                        node=node.name,
                        says=f"pool {pool.name} ({pool.cidr}) overlaps the network of node {node.name} ({address})",
                        todo="Add another pool, and move its networks to that: machines there are not reached.",
                    )
    names = {one.name for one in pools}
    for network in networks:
        for name in filter(None, (network.pool, network.pool6)):
            if name not in names:
                yield NetworkFinding(
                    kind="lost pool",
                    subject=network.name,
                    says=f"network {network.name} has addresses of pool {name}, which is not there",
                    todo=f"Add the pool again, or remove the network: `coldchain network remove {network.name}`.",
                )


def _of_blocks(pools: Mapping[str, Pool], blocks: Iterable[Block]) -> Iterator[NetworkFinding]:
    for block in blocks:
        pool = pools.get(block.pool)
        if pool is None:
            held = sum(bool(one.node) for one in block.held.values())
            yield NetworkFinding(
                kind="lost block",
                subject=block.cidr,
                node=block.node,
                says=f"block {block.cidr} is of pool {block.pool}, which is not there; {held} addresses are held",
                todo="With --repair it goes." if not held else f"Add pool {block.pool} again, then stop who uses it.",
                repair=not held,
            )
        elif not contains(pool.cidr, block.cidr.partition("/")[0]) or block.cidr != block_of(
            pool, block.cidr.partition("/")[0]
        ):
            yield NetworkFinding(
                kind="lost block",
                subject=block.cidr,
                node=block.node,
                says=f"block {block.cidr} is none of pool {pool.name} ({pool.cidr})",
                todo="Somebody wrote it by hand: put it back from a copy of the store.",
            )


def _held(blocks: Iterable[Block]) -> dict[str, Holding]:
    return {address: holding for block in blocks for address, holding in block.held.items()}


def _of_attachments(
    pools: Sequence[Pool], held: Mapping[str, Holding], attachments: Iterable[Attachment], known: set[str]
) -> Iterator[NetworkFinding]:
    seen: dict[str, Attachment] = {}
    for attachment in attachments:
        for address in filter(None, (attachment.address, attachment.address6)):
            other = seen.setdefault(address, attachment)
            if other is not attachment:
                both = f"{_name(other)} on {other.node} and of {_name(attachment)} on {attachment.node}"
                yield NetworkFinding(
                    kind="doubled address",
                    subject=address,
                    node=attachment.node,
                    says=f"{address} is of {both}",
                    todo="Restart one of the two containers: it gets another address.",
                    passing=True,
                )
            holding = held.get(address, Holding(node=""))
            if attachment.node not in known or not any(contains(pool.cidr, address) for pool in pools):
                continue
            if holding.node not in ("", attachment.node):
                yield NetworkFinding(
                    kind="doubled address",
                    subject=address,
                    node=attachment.node,
                    says=f"{_name(attachment)} on {attachment.node} has {address}, which node {holding.node} holds",
                    todo="Restart that container: it gets another address.",
                    passing=True,
                )
            elif not holding.node:
                yield NetworkFinding(
                    kind="address not held",
                    subject=address,
                    node=attachment.node,
                    says=f"{_name(attachment)} on {attachment.node} has {address}, which nobody holds",
                    todo=ASK_NETD.format(node=attachment.node),
                    passing=True,
                )


def _of_holdings(
    blocks: Iterable[Block], attachments: Iterable[Attachment], known: set[str]
) -> Iterator[NetworkFinding]:
    attached = {
        (one.node, address): one.id for one in attachments for address in filter(None, (one.address, one.address6))
    }
    for block in blocks:
        for address, holding in block.held.items():
            if holding.node not in known or not holding.attachment:
                continue
            if attached.get((holding.node, address)) != holding.attachment:
                to = f"attachment {holding.attachment[:12]}"
                yield NetworkFinding(
                    kind="address not attached",
                    subject=address,
                    node=holding.node,
                    says=f"{address} is given on {holding.node} to {to}, which is not there",
                    todo=ASK_NETD.format(node=holding.node),
                    passing=True,
                )


def _name(attachment: Attachment) -> str:
    return f"a container of {attachment.app_id}" if attachment.app_id else f"attachment {attachment.id[:12]}"
