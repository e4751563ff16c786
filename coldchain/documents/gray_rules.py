"""The rules of a gray rollout: what it needs of its app, and what each kind of rule says and does not say."""

import re
from collections.abc import Iterable, Iterator

from coldchain.decisions.registration import is_numeric
from coldchain.documents.findings import Finding, Path
from coldchain.documents.route_rules import HEADER
from coldchain.model.app import App
from coldchain.model.gray import GrayPlan, GrayRule

COOKIE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
MARK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
BY_SHARE = ("hash", "weight")
WHERE: Path = ("rollout", "gray")


def gray_findings(app: App) -> Iterator[Finding]:
    """Everything wrong with the gray rollout of an app; nothing where it has none."""
    if app.rollout.gray is None:
        return
    if not app.routes:
        yield Finding(WHERE, "needs routes: who does not come through the gateway is not told apart")
    yield from _of_others(app, app.rollout.gray) if app.external else _of_a_rollout(app, app.rollout.gray)
    if not MARK.fullmatch(app.rollout.gray.mark):
        reason = "is made of letters, digits, `.`, `_` and `-`, and begins with a letter or digit"
        yield Finding((*WHERE, "mark"), reason)
    yield from rules_findings(app.rollout.gray.rules, (*WHERE, "rules"))


def _of_others(app: App, plan: GrayPlan) -> Iterator[Finding]:
    """Nothing is rolled out: the definition says which of their versions gets which share."""
    if plan.version is None:
        reason = "needs the version of the endpoints that are new, as those who run this service register it"
        yield Finding(WHERE, reason, needs=((*WHERE, "version"), ("container",), ("cmd",), ("args",)))
    elif not MARK.fullmatch(plan.version):
        yield Finding((*WHERE, "version"), "is made of letters, digits, `.`, `_` and `-`")
    if app.rollout.steps:
        reason = "are for what is run here; others run this service: give the share of its new version as gray.share"
        yield Finding(("rollout", "steps"), reason)


def _of_a_rollout(app: App, plan: GrayPlan) -> Iterator[Finding]:
    for name, value in (("version", plan.version), ("share", plan.share)):
        if value is not None:
            reason = "is for a service that others run and register; here the new version is what is rolled out"
            yield Finding((*WHERE, name), reason)
    if not app.rollout.steps:
        yield Finding(WHERE, "needs steps: their shares are those of the requests", needs=(("rollout", "steps"),))
    for position, step in enumerate(app.rollout.steps):
        if step.instances is not None:
            reason = "is not for a gray rollout, where all instances of the new version stand beside the old ones"
            yield Finding(("rollout", "steps", position, "instances"), reason)
    if app.upgrade_strategy.maximum_over_capacity < 1:
        where: Path = ("upgradeStrategy", "maximumOverCapacity")
        yield Finding(where, "must be at least 1 for a gray rollout, where all instances of both versions are live")
    if not app.rollback_on_failure:
        yield Finding(("rollbackOnFailure",), "must be true for a gray rollout: nobody else would end one that failed")


def rules_findings(rules: Iterable[GrayRule], where: Path) -> Iterator[Finding]:
    """Everything wrong with the rules of a gray rollout."""
    shared = 0
    for position, rule in enumerate(rules):
        yield from _rule(rule, (*where, position))
        shared += rule.by in BY_SHARE
        if rule.by in BY_SHARE and shared > 1:
            yield Finding((*where, position), "is the second rule with a share: a rollout has one share at a time")


def _rule(rule: GrayRule, where: Path) -> Iterator[Finding]:
    asker = rule.by if rule.by in ("header", "cookie") else rule.who
    if rule.by in ("users", "hash") and rule.who is None:
        yield Finding(where, f"needs who: by what {rule.by} know who asks", needs=((*where, "who"),))
    elif rule.by not in ("users", "hash") and rule.who is not None:
        yield Finding((*where, "who"), f"is for users and hash, not for {rule.by}")
    if asker in ("header", "cookie"):
        pattern = HEADER if asker == "header" else COOKIE
        if rule.name is None:
            yield Finding(where, f"needs the name of a {asker}", needs=((*where, "name"),))
        elif not pattern.fullmatch(rule.name):
            yield Finding((*where, "name"), f"is no name of a {asker}")
    elif rule.name is not None:
        yield Finding((*where, "name"), "is the name of a header or cookie, and neither is asked for")
    if rule.by == "users" and not rule.values:
        yield Finding(where, "needs values: the users", needs=((*where, "values"),))
    elif rule.by in BY_SHARE and rule.values:
        yield Finding((*where, "values"), f"is not for {rule.by}, which goes by the share")
    elif rule.by == "users" and rule.who == "address":
        for position, value in enumerate(rule.values):
            if not is_numeric(value):
                yield Finding((*where, "values", position), "is no address")
    if rule.sticky and rule.by != "weight":
        yield Finding((*where, "sticky"), "is for weight; all other rules decide the same way each time anyway")
    if rule.to == "normal" and rule.by in BY_SHARE:
        yield Finding((*where, "to"), "must be gray: the share is that of the new version")
