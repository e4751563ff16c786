"""render: a ruleset as text for `nft -f`: the whole table anew, or only what has changed of its sets."""

from collections.abc import Iterable, Iterator

from coldchain.model.ruleset import AddressSet, FilterRule, Ruleset
from coldchain.ports.network import HOST_PREFIX

TABLE = "inet coldchain"
BEFORE_OTHERS = -10
"""Priority of our chains: what they drop nobody else sees, and what they accept others may still drop."""
VERDICTS = {"allow": "accept", "deny": "drop"}
TYPES = {"4": "ipv4_addr", "6": "ipv6_addr"}
FIELDS = {"4": "ip", "6": "ip6"}
SPOOFED = "spoofed"
ELEMENTS_IN_A_LINE = 1000


def render(ruleset: Ruleset) -> str:
    """One transaction, whatever the kernel has of it before. Counters begin at zero."""
    counters = sorted({one.counter for one in _rules(ruleset) if one.counter} | {SPOOFED})
    lines = [f"add table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    lines += [f"  counter {name} {{ }}" for name in counters]
    for one in ruleset.sets:
        lines += _set(one)
    lines += _chain("policy_rules", "", [_rule(one) for one in ruleset.rules])
    lines += _chain("between", "", ["jump policy_rules", *(_rule(one) for one in ruleset.between)])
    to_machine = (_rule(one) for one in ruleset.to_machine)
    lines += _chain("to_machine", "", [*_link_local(), "jump policy_rules", *to_machine, "accept"])
    lines += _chain("forward", _hook("filter", "forward", BEFORE_OTHERS), _forward())
    lines += _chain("input", _hook("filter", "input", BEFORE_OTHERS), _input(ruleset))
    lines += _chain("output", _hook("filter", "output", BEFORE_OTHERS), _output())
    if ruleset.masqueraded:
        pairs = zip(ruleset.masqueraded, ruleset.inside, strict=True)
        masquerades = [f"{_field(one)} saddr {one} {_field(one)} daddr != {inside} masquerade" for one, inside in pairs]
        lines += _chain("postrouting", _hook("nat", "postrouting", 100), masquerades)
    return "\n".join([*lines, "}", ""])


def changes(before: Ruleset, after: Ruleset) -> str | None:
    """What makes `after` of `before`, where only single addresses of sets are others; empty where nothing is. None:
    more is."""
    if _without_addresses(before) != _without_addresses(after):
        return None
    lines: list[str] = []
    for old, new in zip(before.sets, after.sets, strict=True):
        had, wanted = set(old.addresses), set(new.addresses)
        lines += _elements("delete", old, [one for one in old.addresses if one not in wanted])
        lines += _elements("add", new, [one for one in new.addresses if one not in had])
    return "".join(f"{line}\n" for line in lines)


def _without_addresses(ruleset: Ruleset) -> object:
    sets = [(one.name, one.family, one.ranges, one.addresses if one.ranges else None) for one in ruleset.sets]
    rest = (ruleset.rules, ruleset.between, ruleset.to_machine, ruleset.containers)
    return sets, rest, ruleset.inside, ruleset.masqueraded


def _elements(verb: str, one: AddressSet, addresses: list[str]) -> Iterator[str]:
    for at in range(0, len(addresses), ELEMENTS_IN_A_LINE):
        some = ", ".join(addresses[at : at + ELEMENTS_IN_A_LINE])
        yield f"{verb} element {TABLE} {one.name} {{ {some} }}"


def _rules(ruleset: Ruleset) -> Iterable[FilterRule]:
    return (*ruleset.rules, *ruleset.between, *ruleset.to_machine)


def _set(one: AddressSet) -> Iterator[str]:
    yield f"  set {one.name} {{"
    yield f"    type {TYPES[one.family]}"
    if one.ranges:
        yield "    flags interval"
        yield "    auto-merge"
    if one.addresses:
        yield f"    elements = {{ {', '.join(one.addresses)} }}"
    yield "  }"


def _chain(name: str, hook: str, rules: Iterable[str]) -> Iterator[str]:
    yield f"  chain {name} {{"
    if hook:
        yield f"    {hook}"
    yield from (f"    {rule}" for rule in rules)
    yield "  }"


def _hook(kind: str, hook: str, priority: int) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


def _forward() -> list[str]:
    return [
        _spoofed(),
        "ct state established,related accept",
        f'iifname "{HOST_PREFIX}*" goto between',
        f'oifname "{HOST_PREFIX}*" goto between',
    ]


def _input(ruleset: Ruleset) -> list[str]:
    from_containers = [f"{_field(one)} saddr {one} goto to_machine" for one in ruleset.containers]
    return [
        _spoofed(),
        "ct state established,related accept",
        f'iifname "{HOST_PREFIX}*" goto to_machine',
        *from_containers,
    ]


def _output() -> list[str]:
    """To its own containers: Docker's port map and our probes are among it, so nothing but a rule forbids it."""
    return ["ct state established,related accept", f'oifname "{HOST_PREFIX}*" jump policy_rules']


def _spoofed() -> str:
    """An address that does not lie behind this link. IPv4 has rp_filter as well, IPv6 has nothing else."""
    return f'iifname "{HOST_PREFIX}*" fib saddr . iif oif missing counter name {SPOOFED} drop'


def _link_local() -> list[str]:
    """An address that every container has beside its own, and that no rule knows."""
    return ["ip6 saddr fe80::/10 meta l4proto ipv6-icmp accept", "ip6 saddr fe80::/10 drop"]


def _rule(rule: FilterRule) -> str:
    words = [f'iifname "{HOST_PREFIX}*"'] if rule.from_container else []
    words += [f"{FIELDS[rule.family or '4']} saddr {one}" for one in rule.sources]
    words += [f"{FIELDS[rule.family or '4']} daddr {one}" for one in rule.destinations]
    if rule.family is not None and not (rule.sources or rule.destinations):
        words.append(f"meta nfproto ipv{rule.family}")
    if rule.protocols:
        words.append(f"meta l4proto {_one_of(rule.protocols)}")
    if rule.ports:
        words.append(f"th dport {_one_of(rule.ports)}")
    if rule.counter:
        words.append(f"counter name {rule.counter}")
    if rule.log:
        words.append(f'log prefix "{rule.log}"')
    return " ".join([*words, VERDICTS[rule.verdict]])


def _one_of(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"


def _field(set_name: str) -> str:
    return FIELDS[set_name[-1]]
