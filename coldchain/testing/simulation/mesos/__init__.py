"""The simulation of engine mesos: the real controller, engine and executors on a cluster of Mesos made of memory.

What lives here: what a cluster consists of, as real Mesos was seen to behave: `master`, `agent`, `machine` (containers,
executors and sweepers of one host), `amounts` (what they count); the ways between them and their faults (`scheduler`,
`faults`), and lives of the whole (`world`, `schedule`, `run`, `planted`). Users, gateways and what must hold of apps
are those of the other lives.
What must not: a decision of the product; it is the product that is tried here.
"""
