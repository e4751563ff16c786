"""Docker's side of the network: its protocol for remote drivers and address management, over a unix socket.

What lives here: the documents of each call, and the server that turns them into calls of port NetworkDriver.
What must not: what is answered. It is for `control/netd/attachments.py` to say, which is handed over by main.
"""

from coldchain.network.driver.server import Calls, DriverServer

__all__ = ["Calls", "DriverServer"]
