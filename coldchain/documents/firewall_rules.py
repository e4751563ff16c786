"""The rules of a route's firewall: what an exclusion and a method may be. All of it becomes part of the rules by which
ModSecurity works, so nothing but plain names and numbers is let in."""

import re
from collections.abc import Iterator

from coldchain.documents.findings import Finding, Path, shown
from coldchain.model.firewall import Firewall, FirewallExclusion

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
METHOD = re.compile(r"[A-Z]{1,32}")


def firewall_findings(firewall: Firewall, where: Path) -> Iterator[Finding]:
    """Everything wrong with a firewall that the form of its fields does not show."""
    if not firewall.methods:
        yield Finding((*where, "methods"), "would let no request through: name methods, or leave it out")
    for number, method in enumerate(firewall.methods):
        if not METHOD.fullmatch(method):
            yield Finding((*where, "methods", number), f"{shown(method)} is no method: capitals, 32 at most")
    first: dict[FirewallExclusion, Path] = {}
    for number, exclusion in enumerate(firewall.exclusions):
        here = (*where, "exclusions", number)
        yield from _exclusion(exclusion, here)
        before = first.setdefault(exclusion, here)
        if before != here:
            yield Finding(here, f"rule {exclusion.rule} is excluded so already", needs=(before,))


def _exclusion(exclusion: FirewallExclusion, where: Path) -> Iterator[Finding]:
    named = {
        name: value for name in ("parameter", "header", "cookie") if (value := getattr(exclusion, name)) is not None
    }
    if len(named) > 1:
        yield Finding(where, f"give one of {', '.join(named)}; another exclusion can have the other")
    for name, value in named.items():
        if not NAME.fullmatch(value):
            reason = f"{shown(value)} is no plain name: letters, digits and `_.-`, 128 at most"
            yield Finding((*where, name), reason)
