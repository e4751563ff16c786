"""A lab of several machines on this one: each with a network, processes, a root, a name and a Docker Engine of its own.

What lives here: the plan of a lab, its machines, what joins them (cables, a switch, a router), and the keeper, which
takes all down in whatever way the process that uses the lab ends. `python -m coldchain.testing.machines` gives one to
play with.
What must not: anything that knows what a test, the demo or a bench does with a machine. It runs in the sandbox only.
Processes: the user of the lab → keeper (its network is the switch; it has the machines' disks) → one init for each
machine, PID 1 of its own. What is started in a machine is a child of who started it, inside the machine's namespaces.
"""

from coldchain.testing.machines.lab import MachineLab
from coldchain.testing.machines.machine import Machine, Started
from coldchain.testing.machines.plan import FLAT, SEGMENTED, Plan

__all__ = ["FLAT", "SEGMENTED", "Machine", "MachineLab", "Plan", "Started"]
