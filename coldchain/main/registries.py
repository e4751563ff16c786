"""registries: the registries of a platform, opened: the embedded one, Consul by address, or both."""

import secrets
from dataclasses import dataclass

from coldchain.clients.consul import ConsulClient
from coldchain.control.clock import SystemClock
from coldchain.main.registry_access import ConsulAccess, RegistryAccess
from coldchain.main.settings import PlatformSettings
from coldchain.ports.prober import Prober
from coldchain.ports.registry import Registry
from coldchain.ports.store import Store
from coldchain.registry.consul import ConsulRegistry
from coldchain.registry.server.embedded import EmbeddedRegistry, local_node
from coldchain.registry.several import Agents, Registries


@dataclass(frozen=True, kw_only=True)
class OpenedRegistries:
    """What the controller speaks to, and the embedded one that is to run beside it, if any. `own_token`: by which the
    platform is known to that one."""

    registry: Registry
    embedded: EmbeddedRegistry | None
    own_token: str


def open_registries(
    settings: PlatformSettings, store: Store, prober: Prober, clock: SystemClock, controller_id: str
) -> OpenedRegistries:
    """Nothing listens yet, and nobody is asked. Raises InvalidDocument. Blocking: it reads certificates and tokens."""
    access = settings.registry_access()
    embedded, own_token, made = None, "", list[ConsulRegistry]()
    if access.embedded is not None:
        node = local_node(settings.agent, controller_id, access.embedded[0])
        embedded = EmbeddedRegistry(store, prober, clock, node, access.embedded, settings.dns_address())
        own_token = secrets.token_urlsafe(32) if embedded.server.exposed else ""
        client = ConsulClient(embedded.server.reached_at, token=own_token)
        made.append(ConsulRegistry(client, controller_id, "" if access.embedded_first else "embedded"))
    staying = [one for one in access.consuls if not one.leave]
    consuls = [_consul(one, one.address, controller_id, one.text) for one in staying]
    made = [*made, *consuls] if access.embedded_first else [*consuls, *made]
    made[0].place = ""
    left = [_consul(one, one.address, controller_id, one.text) for one in access.consuls if one.leave]
    registry = _joined(access, made, consuls, left, controller_id)
    return OpenedRegistries(registry=registry, embedded=embedded, own_token=own_token)


def _joined(
    access: RegistryAccess,
    made: list[ConsulRegistry],
    consuls: list[ConsulRegistry],
    left: list[ConsulRegistry],
    controller_id: str,
) -> Registry:
    root = access.with_agents
    if root is None:
        return made[0] if len(made) == 1 and not left else Registries(made, left=left)

    def opened(place: str) -> ConsulRegistry:
        return _consul(root, place, controller_id, place)

    agents = Agents(root=consuls[0], opened=opened, port=root.agents, sweep_port=root.agents or root.port)
    return Registries(made, agents, left=left)


def _consul(access: ConsulAccess, address: str, controller_id: str, place: str) -> ConsulRegistry:
    """At its address, or at another one that is reached in the same way."""
    client = ConsulClient(f"{access.scheme}://{address}", token=access.token, tls=access.context())
    return ConsulRegistry(client, controller_id, place)
