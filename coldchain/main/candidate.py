"""candidate: a controller of a store that several share: it opens engine and registry when it leads, and not before."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import aiohttp

from coldchain.api.passed import Passed, controller_headers
from coldchain.control.candidate import Candidate
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.fence import Authority
from coldchain.control.standby import NoEngine
from coldchain.documents import keys
from coldchain.gateway.remote_feed import RemoteFeed
from coldchain.main.listeners import leader_trust
from coldchain.main.platform import Platform, controller_id, open_controller, open_gateway, open_store
from coldchain.main.settings import PlatformSettings
from coldchain.model.caller import LOCAL
from coldchain.model.errors import Rejected
from coldchain.model.leader import Leader
from coldchain.ports.rotation_feed import RotationFeed
from coldchain.ports.store import ABSENT, Change, LostUpdate, Store
from coldchain.probes.prober import NetworkProber
from coldchain.store.cipher import KeyFileCipher

SECRET_BYTES = 32


@contextlib.asynccontextmanager
async def open_candidate(settings: PlatformSettings) -> AsyncIterator[Platform]:
    """Open the store and read it; who leads is found out when it is served."""
    settings.check()
    async with contextlib.AsyncExitStack() as closing:
        store = await open_store(settings, closing)
        clock = SystemClock()
        if settings.local:
            await _check_machine(store, settings.agent)
        # Who is started leads again, whatever was stopped before.
        await store.write([Change(key=keys.CONTROLLERS_DOWN, value=None)])
        cipher = await asyncio.to_thread(KeyFileCipher, settings.secret_keys_file)
        name = await controller_id(store, clock)
        gateway = await open_gateway(settings, closing)
        idle = NetworkProber(settings.gateway_settings().status_address, NoEngine().network_namespace)
        closing.push_async_callback(idle.close)

        @contextlib.asynccontextmanager
        async def opening(fenced: Store, authority: Authority) -> AsyncIterator[Controller]:
            async with contextlib.AsyncExitStack() as leading:
                opened = await leading.enter_async_context(
                    open_controller(settings, fenced, clock, name, cipher, authority)
                )
                await opened.start_registry(leading)
                candidate.take_leave = opened.mesos.tear_down if opened.mesos is not None else None
                async with asyncio.TaskGroup() as group:
                    beside = group.create_task(opened.registry.run()) if opened.registry is not None else None
                    yield opened.controller
                    if beside is not None:
                        beside.cancel()

        def standing_by(readable: Store) -> Controller:
            policy = settings.admission_policy()
            standby = Controller(readable, NoEngine(), idle, clock, None, policy, cipher)
            standby.operations.default_network = settings.default_network
            return standby

        connections = await closing.enter_async_context(aiohttp.ClientSession())
        trust = await asyncio.to_thread(leader_trust, settings)

        def feed_of(leader: Leader) -> RotationFeed:
            headers = controller_headers(leader, Passed(caller=LOCAL, asked=True))
            return RemoteFeed(connections, leader.url, headers, trust)

        me = Leader(name=clock.unique(), url=settings.own_url(), secret=secrets.token_urlsafe(SECRET_BYTES))
        candidate = Candidate(store, clock, me, opening, standing_by, feed_of=feed_of)
        await candidate.controller.state.load()
        yield Platform(
            controller=candidate.controller, gateway=gateway, clock=clock, registry=None, candidate=candidate
        )


async def _check_machine(store: Store, agent: str) -> None:
    """The engine `local` is one machine's alone: a controller on another one would take its tasks for lost. Raises
    Rejected."""
    entry = await store.get(keys.CONTROLLER_MACHINE)
    if entry is None:
        with contextlib.suppress(LostUpdate):
            await store.write([Change(key=keys.CONTROLLER_MACHINE, value=agent.encode(), expected=ABSENT)])
            return
        entry = await store.get(keys.CONTROLLER_MACHINE)
    if entry is not None and entry.value.decode() != agent:
        raise Rejected(
            f"the tasks of this store run on the machine {entry.value.decode()!r}, and this one is {agent!r}",
            todo="Controllers on several machines need an engine that all of them reach; or say --agent as it was.",
        )
