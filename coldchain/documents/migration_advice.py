"""What carries over from Marathon to the letter, and yet is worth a word to whoever deploys it."""

import re
from collections.abc import Iterator

from coldchain.decisions.admission import Policy, judge
from coldchain.documents.findings import pointer
from coldchain.documents.migration_note import Note
from coldchain.model.app import App

SECRET_NAMES = re.compile(r"passw(or)?d|passphrase|secret|token|credential|(api|access|private|encryption)_?key", re.I)
SECRET_VALUES = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|^[a-z][a-z0-9+.-]*://[^/@\s:]+:[^/@\s]+@", re.I)
BALANCER_LABELS = ("HAPROXY_", "traefik.")
"""Beginnings of labels that balancers of Marathon's world read."""
BUILT_IN_FIELDS = ("hostname", "@hostname", "@region", "@zone")


def advice(app: App) -> list[Note]:
    """In the order of the definition's parts."""
    return [*_secrets(app), *_labels(app), *_constraints(app), *_networks(app), *_admission(app)]


def _secrets(app: App) -> Iterator[Note]:
    for name, value in app.env.items():
        if value and (SECRET_NAMES.search(name) or SECRET_VALUES.search(value)):
            yield Note(
                path=pointer(("env", name)),
                kind="advice",
                reason="looks like a secret, and stands here for everybody to read",
                todo='Keep it by `coldchain secret set NAME`, and write {"secret": NAME} in `env`.',
            )


def _labels(app: App) -> Iterator[Note]:
    found = sorted(name for name in app.labels if name.startswith(BALANCER_LABELS))
    if found:
        yield Note(
            path="/labels",
            kind="advice",
            reason=f"nothing here reads labels of another balancer ({', '.join(found[:5])}{' …' * (len(found) > 5)})",
            todo="Say by `routes` which domains and paths lead to the app; keep the labels while that balancer runs.",
        )


def _constraints(app: App) -> Iterator[Note]:
    for position, (field, *_) in enumerate(app.constraints):
        if field not in BUILT_IN_FIELDS:
            yield Note(
                path=f"/constraints/{position}",
                kind="advice",
                reason=f"compares the attribute {field} of agents, which must have it here, too",
                todo=f"Give it to the agents: coldchain up --attribute {field}=VALUE",
            )


def _networks(app: App) -> Iterator[Note]:
    for position, network in enumerate(app.networks):
        if network.name is not None:
            yield Note(
                path=f"/networks/{position}/name",
                kind="advice",
                reason=f"the network {network.name} must be there for the Docker of each agent",
                todo="Make it, or leave `networks` out for the usual one.",
            )


def _admission(app: App) -> Iterator[Note]:
    """As a platform judges it whose operator chose nothing."""
    for refusal in judge(app, Policy()):
        yield Note(
            path=refusal.path,
            kind="advice",
            reason=f"a platform with its usual settings refuses this by the rule {refusal.rule}: {refusal.reason}",
            todo=refusal.todo,
        )
