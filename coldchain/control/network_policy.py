"""network policy: who may talk to whom over the container network: read, replaced, and asked about."""

import ipaddress
from typing import NamedTuple

from msgspec.structs import replace

from coldchain.control.network_view import NetworkView
from coldchain.decisions.policy import Decision, Question, Seen, addresses_of, decide, nobody
from coldchain.documents import keys, stored
from coldchain.documents.policy_request import Names, PolicyQuestion, decode_policy
from coldchain.model.errors import Conflict, InvalidDocument, Problem
from coldchain.model.policy import Policy
from coldchain.ports.store import ABSENT, Change, LostUpdate, Store

ICMP = {4: "icmp", 6: "ipv6-icmp"}


class KeptPolicy(NamedTuple):
    """`revision`: 0 before there is one. `nobody`: rules of which one side means no container now, with which."""

    policy: Policy
    revision: int
    nobody: dict[str, str]


class Explained(NamedTuple):
    """What becomes of one connection. Addresses, and who has them in words."""

    source: str
    destination: str
    decision: Decision


class NetworkPolicy:
    """The policy of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self) -> KeptPolicy:
        entry = await self._store.get(keys.POLICY)
        seen = await self._seen()
        return KeptPolicy(seen.policy, entry.revision if entry is not None else ABSENT, dict(nobody(seen)))

    async def put(self, document: object) -> KeptPolicy:
        """In place of the one before. Raises InvalidDocument with all that is wrong, and Conflict where the document
        names the revision of the one before, and that is another by now."""
        seen = await self._seen()
        names = Names([one.name for one in seen.networks], [one.name for one in seen.nodes])
        policy, revision = decode_policy(document, names)
        change = Change(key=keys.POLICY, value=stored.encode(policy), expected=revision)
        try:
            written = await self._store.write([change])
        except LostUpdate as error:
            todo = "Look at what changed (`coldchain policy diff`), and apply again."
            raise Conflict("the policy was changed by somebody else in the meantime", todo=todo) from error
        return KeptPolicy(policy, written, dict(nobody(replace(seen, policy=policy))))

    async def ask(self, question: PolicyQuestion) -> list[Explained]:
        """For each pair of addresses of an app's containers, those of one kind and with one answer only once. Raises
        InvalidDocument for a side that nobody is."""
        seen = await self._seen()
        problems: list[Problem] = []
        sides = [
            _addresses(seen, text, f"/{name}", problems)
            for name, text in (("source", question.source), ("destination", question.destination))
        ]
        if problems:
            raise InvalidDocument(problems)
        found: dict[Decision, Explained] = {}
        for source in sides[0]:
            for destination in sides[1]:
                versions = {ipaddress.ip_address(one).version for one in (source, destination)}
                if len(versions) > 1 or source == destination:
                    continue
                protocol = ICMP[versions.pop()] if question.protocol == "icmp" else question.protocol
                decision = decide(seen, Question(source, destination, protocol, question.port))
                found.setdefault(decision, Explained(source, destination, decision))
        if not found:
            reason = "has no address of the same family as the source, or only the same one"
            raise InvalidDocument([Problem(path="/destination", reason=reason)])
        return list(found.values())

    async def _seen(self) -> Seen:
        view = NetworkView()
        await view.load(self._store)
        return view.seen()


def _addresses(seen: Seen, text: str, path: str, problems: list[Problem]) -> list[str]:
    """Of an address itself, of an app's containers, of a machine."""
    try:
        return [str(ipaddress.ip_address(text))]
    except ValueError:
        pass
    found = [one for node in seen.nodes if node.name == text for one in addresses_of(node)]
    found += [a for one in seen.attachments if one.app_id == text for a in (one.address, one.address6) if a]
    if not found:
        reason = (
            f"no container of {text} is in a network now" if text.startswith("/") else f"there is no machine {text!r}"
        )
        problems.append(Problem(path=path, reason=reason))
    return found
