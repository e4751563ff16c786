"""mesos: engine mesos made of what `up` was told."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import structlog

from coldchain import __version__
from coldchain.clients.mesos.agent import AgentClient
from coldchain.clients.mesos.leader import LeadingMaster
from coldchain.clients.mesos.scheduler import MesosUnavailable, SchedulerClient
from coldchain.clients.zookeeper import ZooKeeperUnavailable
from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.documents import keys, stored
from coldchain.engines.executor.environment import AUTHORITY
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.main.mesos_access import MesosAccess, masters_of
from coldchain.model.errors import Rejected
from coldchain.model.executor import ExecutorSettings
from coldchain.model.secret import Secret
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock
from coldchain.ports.store import ABSENT, Change, Store
from coldchain.runners.docker import DockerSettings
from coldchain.runners.remote import RemoteRunner

KEY_NAME = "key of Mesos's executors"

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_mesos(
    access: MesosAccess, executor: ExecutorSettings, store: Store, cipher: Cipher, clock: Clock, target: str
) -> AsyncIterator[MesosEngine]:
    """Subscribed, if a master answers; else it tries on, and is Unavailable meanwhile. `executor` without a version."""
    async with contextlib.AsyncExitStack() as closing:
        principal, _, secret = (access.credentials or "").partition(":")
        tls = ssl.create_default_context(cafile=str(access.authority)) if access.authority else None
        engine = MesosEngine(
            SchedulerClient(_finder(access, closing), credential=(principal, secret) if principal else None, tls=tls),
            store,
            clock,
            MesosSettings(
                roles=access.roles,
                principal=principal,
                executor_command=tuple(access.executor.split()),
                executor_environment=await asyncio.to_thread(executor_environment, access),
                containerizer="docker" if access.containerizer == "docker" else "executor",
                pids_max=DockerSettings().pids_max,
            ),
            msgspec.structs.replace(executor, version=__version__),
            key=await executor_key(store, cipher, clock),
            reach=RemoteRunner,
            agents=AgentClient(tls),
            target=target,
        )
        closing.push_async_callback(engine.close)
        await engine.start()
        yield engine


def executor_environment(access: MesosAccess) -> dict[str, str]:
    """What executors are told of TLS, which their agents do not tell them: where masters speak it, agents do."""
    if access.authority is None:
        return {}
    return {"LIBPROCESS_SSL_ENABLED": "true", AUTHORITY: access.authority.read_text()}


async def check_no_framework(store: Store) -> None:
    """Without the engine its tasks would be taken for lost, and be started somewhere else. Raises Rejected."""
    if (await store.list(keys.MESOS_FRAMEWORKS)).entries:
        raise Rejected(
            "the tasks of this store run on a cluster of Mesos",
            todo="Say --engine mesos and --mesos-master; `coldchain down` with them stops all that runs there.",
        )


async def executor_key(store: Store, cipher: Cipher, clock: Clock) -> bytes:
    """Made once for a store, and sealed as secrets are. One that cannot be opened any more, because the keys were
    changed, gives way to another: executors of before run on, but cannot be asked for logs."""
    entry = await store.get(keys.MESOS_KEY)
    if entry is not None:
        kept = stored.decode(entry.value, Secret)
        try:
            return cipher.open(KEY_NAME, kept.key_id, kept.sealed).encode()
        except Rejected as error:
            log.warning("the key of executors is made anew", reason=str(error))
    value = clock.unique() + clock.unique()
    sealed = Secret(
        name=KEY_NAME,
        key_id=cipher.key_id,
        sealed=cipher.seal(KEY_NAME, value),
        changed_at=clock.now(),
        cause="made for engine mesos",
    )
    expected = entry.revision if entry is not None else ABSENT
    await store.write([Change(key=keys.MESOS_KEY, value=stored.encode(sealed), expected=expected)])
    return value.encode()


def _finder(access: MesosAccess, closing: contextlib.AsyncExitStack) -> Callable[[], Awaitable[str]]:
    masters = masters_of(access.master)
    if isinstance(masters, ZooKeeperAddress):
        leading = LeadingMaster(masters, by_name=access.authority is not None)
        closing.push_async_callback(leading.close)

        async def of_zookeeper() -> str:
            try:
                return await leading.leader()
            except ZooKeeperUnavailable as error:
                raise MesosUnavailable(str(error)) from error

        return of_zookeeper
    turn = -1

    async def next_one() -> str:
        """Each in turn: a standby says who leads, and one that is away says nothing."""
        nonlocal turn
        turn = (turn + 1) % len(masters)
        return masters[turn]

    return next_one
