"""Engine mesos: a cluster of Apache Mesos, by the v1 scheduler API.

What lives here: `engine` (port Engine), `link` (the subscription to the leading master), `offer_book` and `task_book`
(what is known of offers, agents and tasks: no clock and no wire in them), `launches` (what waits for room, packed onto
offers), `reconciliation` (what the master is asked for), `maintenance` (what operators are answered who want an agent
back), `idling` (which offers are held, and given back), `keeper` (what is stored, before Mesos hears that it was
received), `statuses`, `infos`, `resources` (Mesos's documents).
What must not: what becomes of a status (`decisions.mesos_task`), how a task runs (the executor on the agent, which is
reached by a port Runner that main hands over).
Data comes as events of the master; it goes out as calls to it and as updates to the controller.
"""

from coldchain.engines.mesos.engine import MesosEngine
from coldchain.engines.mesos.settings import MesosSettings

__all__ = ["MesosEngine", "MesosSettings"]
