"""policy: who may talk to whom over the container network."""

from typing import Literal

from coldchain.model.base import Noun

Verdict = Literal["allow", "deny"]
Protocol = Literal["any", "tcp", "udp", "icmp"]


class Peers(Noun, frozen=True, kw_only=True):
    """One side of a rule: all that every given field says. Nothing given: anybody. `app` may end in `/*`: all apps of a
    group. `machines`: the nodes themselves, whose containers are not meant; with `machine` one of them by name."""

    network: str = ""
    app: str = ""
    labels: dict[str, str] = {}
    cidr: str = ""
    machines: bool = False
    machine: str = ""


class Rule(Noun, frozen=True, kw_only=True):
    """The first rule that fits decides, in the order of the policy. `ports` as `80` or `8000-8100`, empty: all.
    `log`: the kernel writes a line of each new connection that it decides."""

    name: str
    verdict: Verdict = "allow"
    source: Peers = Peers()
    destination: Peers = Peers()
    protocol: Protocol = "any"
    ports: tuple[str, ...] = ()
    log: bool = False


class Policy(Noun, frozen=True, kw_only=True):
    """All rules in their order. Where none fits: who is in one network may talk, networks among each other may not;
    machines reach containers, who is neither does not; containers reach what is outside, and of machines all but the
    ports of what holds the cluster together. A network that is isolated reaches of all this nothing but DNS and
    Consul's agent of each container's own machine, which alone reaches into it. `cut`: connections that stand are cut
    when a change forbids them."""

    rules: tuple[Rule, ...] = ()
    cut: bool = False
