"""Keys of the store: one per object, named by kind, target and ids; ids are escaped so that `/` stays a separator."""

from functools import lru_cache
from urllib.parse import quote

from coldchain.model.agent import AgentDrain
from coldchain.model.attachment import Attachment
from coldchain.model.backoff import Backoff
from coldchain.model.caller import Token
from coldchain.model.catalog import CatalogCheck, CatalogRecord, CatalogService, CatalogSession, KeyValue
from coldchain.model.certificate import KeptCertificate
from coldchain.model.consumer import KeptConsumer
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.deployment import Deployment
from coldchain.model.gateway import KnownGateway
from coldchain.model.group import Group, GroupDeployment, GroupVersion
from coldchain.model.instance import Instance
from coldchain.model.key_set import KeptKeySet
from coldchain.model.mesos import MesosTask
from coldchain.model.node import Node
from coldchain.model.pool import Block, Pool
from coldchain.model.registration import ExternalService
from coldchain.model.secret import Secret
from coldchain.model.task import TaskFailure
from coldchain.model.version import AppRecord, Version

CONTROLLER_TERM = "controller/term"
"""The number of the last controller that started: it grows with each, and fences off those before."""

CONTROLLER_ID = "controller/id"
"""By it the tasks of this store are known: a controller adopts its own and only its own."""

CONTROLLER_MACHINE = "controller/machine"
"""Where a store that controllers share has tasks of the engine `local`: the machine on which all of them run."""

LEADER = "controller/leader"
"""Who leads. It ends with the leader's lease, and its revision is by what the leader's writes are known."""

CONTROLLERS_DOWN = "controller/down"
"""Written by a leader that has stopped everything: all controllers end, and nobody leads before one is started."""

STANDBY = "standby/"
"""Below it what standbys write to hear how far they follow."""

STORE_MOVE = "store/move"
"""The mark of a store whose content is somewhere else: nobody may start with it."""

MESOS_KEY = "mesos/key"
"""From which the tokens of executors are made, sealed as secrets are."""

MESOS_FRAMEWORKS = "mesos-framework/"
"""Below it what engines mesos are known by to Mesos, each by its target."""

CATALOG = "catalog/"
"""What the embedded registry keeps, under keys of its own: it has nothing to do with apps and instances."""

CATALOG_BEGUN = "registry/begun"
"""Written by the embedded registry into a store without any revision: index 1 is that of an empty registry."""

AUDIT = "audit/"
"""Below it who did what, each entry by its number, with as many digits as keep them in order."""

NETWORK = "network/"
"""Below it all that the container network keeps."""

POOL = "network/pool/"
BLOCK = "network/block/"
CONTAINER_NETWORK = "network/network/"
NODE = "network/node/"
REMOVED_NODE = "network/removed-node/"
ATTACHMENT = "network/attachment/"
"""What the container network keeps, each below a key of its own; nodes write all of it but pools and networks."""

ROUTING = "network/routing"
POLICY = "network/policy"
"""One document each, for all nodes."""

POOLS_CHANGED = "network/pools-changed"
"""Written with every change of which pools and networks there are: of two that could not both be, one comes later."""

NetworkRecord = Pool | Block | ContainerNetwork | Node | Attachment

Record = (
    AppRecord
    | Version
    | Deployment
    | Group
    | GroupVersion
    | GroupDeployment
    | Instance
    | TaskFailure
    | Backoff
    | KnownGateway
    | ExternalService
    | Secret
    | Token
    | AgentDrain
    | KeptCertificate
    | KeptConsumer
    | KeptKeySet
)


def key_of(record: Record) -> str:
    """The key of a record, the same for all states of the same object."""
    match record:
        case AppRecord():
            return _key("app", record.target, record.app_id)
        case Version():
            return _key("version", record.app.target, record.app.id, record.id)
        case Deployment():
            return _key("deployment", record.target, record.id)
        case Group():
            return _key("group", record.id)
        case GroupVersion():
            return _key("group-version", record.group_id, record.id)
        case GroupDeployment():
            return _key("group-deployment", record.target, record.id)
        case Instance():
            return _key("instance", record.target, record.app_id, record.id)
        case TaskFailure():
            return _key("failure", record.target, record.app_id)
        case Backoff():
            return _key("backoff", record.target, record.app_id)
        case KnownGateway():
            return _key("gateway", record.name)
        case Secret():
            return secret(record.name)
        case Token():
            return _key("token", record.id)
        case ExternalService():
            return _key("external", record.target, record.app_id)
        case AgentDrain():
            return _key("agent-drain", record.target, record.agent)
        case KeptCertificate():
            return _key("certificate", record.name)
        case KeptConsumer():
            return _key("consumer", record.name)
        case KeptKeySet():
            return _key("key-set", record.url)


def secret(name: str) -> str:
    """The key of a secret."""
    return _key("secret", name)


def mesos_framework(target: str) -> str:
    """The key of what engine mesos is known by to Mesos."""
    return _key("mesos-framework", target)


def mesos_tasks(target: str) -> str:
    """Below it the tasks of engine mesos."""
    return _key("mesos-task", target) + "/"


def mesos_task(task: MesosTask) -> str:
    """The key of one of them."""
    return mesos_tasks(task.target) + _escaped(task.task_id)


def catalog_key_of(record: CatalogRecord) -> str:
    """The key of a record of the embedded registry."""
    match record:
        case CatalogService():
            return CATALOG + _key("service", record.id)
        case CatalogCheck():
            return CATALOG + _key("check", record.id)
        case KeyValue():
            return CATALOG + _key("key", record.key)
        case CatalogSession():
            return CATALOG + _key("session", record.id)


def network_key_of(record: NetworkRecord) -> str:
    """The key of a record of the container network."""
    match record:
        case Pool():
            return POOL + _escaped(record.name)
        case Block():
            return BLOCK + _key(record.pool, record.cidr)
        case ContainerNetwork():
            return CONTAINER_NETWORK + _escaped(record.name)
        case Node():
            return NODE + _escaped(record.name)
        case Attachment():
            return ATTACHMENT + _key(record.node, record.id)


def pool(name: str) -> str:
    """The key of a pool."""
    return POOL + _escaped(name)


def container_network(name: str) -> str:
    """The key of a network of containers."""
    return CONTAINER_NETWORK + _escaped(name)


def blocks(pool: str) -> str:
    """Below it the blocks of a pool."""
    return BLOCK + _escaped(pool) + "/"


def block(pool: str, cidr: str) -> str:
    """The key of one of them."""
    return blocks(pool) + _escaped(cidr)


def node(name: str) -> str:
    """The key of a node."""
    return NODE + _escaped(name)


def removed_node(name: str) -> str:
    """The key of the record of a node that was removed, as it was then."""
    return REMOVED_NODE + _escaped(name)


def attachments(node: str) -> str:
    """Below it the attachments of a node."""
    return ATTACHMENT + _escaped(node) + "/"


def _key(*parts: str) -> str:
    return "/".join(map(_escaped, parts))


@lru_cache(maxsize=4096)
def _escaped(part: str) -> str:
    return quote(part, safe="")
