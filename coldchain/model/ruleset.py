"""ruleset: what the packet filter of one machine shall do, as a value."""

from typing import Literal

from coldchain.model.base import Noun
from coldchain.model.policy import Verdict

Family = Literal["4", "6"]
Hook = Literal["forward", "input", "output"]


class AddressSet(Noun, frozen=True, kw_only=True):
    """Addresses that rules name by `name`. `ranges`: they are CIDRs; else each is one address without a length."""

    name: str
    family: Family
    ranges: bool
    addresses: tuple[str, ...]


class FilterRule(Noun, frozen=True, kw_only=True):
    """Every condition must hold. `sources`, `destinations`: `@NAME` of a set or a CIDR, each of them holds the address.
    `family` None: both. `protocols` empty: all; `ports`: of the destination, `80` or `8000-8100`, empty: all.
    `from_container`: it comes over a container's own link. `counter`: counts the packets that it decides; empty: none
    does. `log`: words before the kernel's line, empty: no line."""

    verdict: Verdict
    family: Family | None = None
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    from_container: bool = False
    counter: str = ""
    log: str = ""


class Ruleset(Noun, frozen=True, kw_only=True):
    """`rules`: those of the policy, which come first everywhere. Then, for what goes from or to a container over this
    machine `between`, and for what comes to this machine itself from a container here or elsewhere `to_machine`. What
    this machine sends to its own containers is decided by `rules` alone. Of two rules that fit the first decides.
    `inside`, `masqueraded`: names of sets; what comes from the second and goes out of the first leaves with the
    machine's own address."""

    sets: tuple[AddressSet, ...]
    rules: tuple[FilterRule, ...]
    between: tuple[FilterRule, ...]
    to_machine: tuple[FilterRule, ...]
    containers: tuple[str, ...]
    inside: tuple[str, ...] = ()
    masqueraded: tuple[str, ...] = ()


class Connection(Noun, frozen=True, kw_only=True):
    """One that stands, as the kernel follows it. Ports 0 where its protocol has none."""

    protocol: str
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
