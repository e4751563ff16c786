"""The Dubbo 2 protocol with Hessian 2, client and server side; it knows nothing of ours.

What lives here: frames, calls and results, connections that carry many calls at once, a client of one address and a
server. What must not: discovery and the choice of a provider, which are the adapter's.
An exception that a method raised comes out as `RemoteException`: its class is a name, its stack is text, never code.
"""

from coldchain.clients.dubbo.client import Client, ClientSettings
from coldchain.clients.dubbo.errors import (
    ConnectionLost,
    DamagedFrame,
    DubboError,
    Refused,
    RemoteException,
    Timeout,
    TooLarge,
    Unreachable,
    Unreadable,
)
from coldchain.clients.dubbo.frame import Status
from coldchain.clients.dubbo.generic import generic_call, plain
from coldchain.clients.dubbo.message import Call, Result
from coldchain.clients.dubbo.server import Server, ServerSettings
from coldchain.clients.dubbo.services import NoSuchService, Services
from coldchain.clients.dubbo.types import inferred_types

__all__ = [
    "Call",
    "Client",
    "ClientSettings",
    "ConnectionLost",
    "DamagedFrame",
    "DubboError",
    "NoSuchService",
    "Refused",
    "RemoteException",
    "Result",
    "Server",
    "ServerSettings",
    "Services",
    "Status",
    "Timeout",
    "TooLarge",
    "Unreachable",
    "Unreadable",
    "generic_call",
    "inferred_types",
    "plain",
]
