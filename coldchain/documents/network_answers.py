"""network answers: pools, networks of containers and what a check found, as the API shows them."""

from collections.abc import Sequence
from typing import Any

from coldchain.decisions.pool import block_count, network_of
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.network_finding import NetworkFinding
from coldchain.model.pool import Block, Pool

COUNT_MAX = 2**53
"""Programs that read JSON count no further."""


def pool_answer(pool: Pool, blocks: Sequence[Block], networks: Sequence[ContainerNetwork]) -> dict[str, Any]:
    """`blocks` and `networks`: all that there are."""
    own = [one for one in blocks if one.pool == pool.name]
    held = [one for block in own for one in block.held.values() if one.node]
    return {
        "name": pool.name,
        "cidr": pool.cidr,
        "blockLength": pool.block_length,
        "natOutgoing": pool.nat_outgoing,
        "disabled": pool.disabled,
        "addresses": _count(network_of(pool.cidr).num_addresses),
        "given": sum(bool(one.attachment) for one in held),
        "held": len(held),
        "blocks": {"whole": _count(block_count(pool)), "used": len(own)},
        "networks": [one.name for one in networks if pool.name in (one.pool, one.pool6)],
    }


def pool_detail(pool: Pool, blocks: Sequence[Block], networks: Sequence[ContainerNetwork]) -> dict[str, Any]:
    """With who has which block, and how much of it."""
    own = [one for one in blocks if one.pool == pool.name]
    return pool_answer(pool, blocks, networks) | {"nodeBlocks": [_block(one) for one in own]}


def network_answer(network: ContainerNetwork, inside: Sequence[Attachment]) -> dict[str, Any]:
    """`inside`: who is in it."""
    return {
        "name": network.name,
        "pool": network.pool,
        "pool6": network.pool6,
        "isolated": network.isolated,
        "containers": len(inside),
    }


def network_detail(network: ContainerNetwork, inside: Sequence[Attachment]) -> dict[str, Any]:
    """With each of who is in it."""
    ordered = sorted(inside, key=lambda one: (one.node, one.app_id, one.id))
    return network_answer(network, inside) | {"attachments": [_attachment(one) for one in ordered]}


def finding_answer(finding: NetworkFinding) -> dict[str, Any]:
    """One thing that is not as it should be."""
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "node": finding.node,
        "says": finding.says,
        "todo": finding.todo,
        "repair": finding.repair,
    }


def _block(block: Block) -> dict[str, Any]:
    held = [one for one in block.held.values() if one.node]
    return {
        "cidr": block.cidr,
        "node": block.node,
        "given": sum(bool(one.attachment) for one in held),
        "held": len(held),
        "borrowed": sum(one.node != block.node for one in held),
        "resting": len(block.held) - len(held),
    }


def _attachment(one: Attachment) -> dict[str, Any]:
    return {
        "id": one.id,
        "node": one.node,
        "address": one.address,
        "address6": one.address6,
        "app": one.app_id,
        "task": one.task_id,
    }


def _count(number: int) -> int | None:
    return number if number < COUNT_MAX else None
