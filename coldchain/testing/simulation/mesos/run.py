"""run: one life on a cluster of Mesos, compared with the one without faults where that can be."""

from coldchain.testing.simulation import oracle
from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.mesos.faults import MESOS_FAULTS
from coldchain.testing.simulation.mesos.world import MesosLoop, MesosWorld
from coldchain.testing.simulation.run import Result
from coldchain.testing.simulation.run import run as run_anywhere
from coldchain.testing.simulation.schedule import Schedule


def run(schedule: Schedule) -> tuple[Result, Coverage]:
    """Run a schedule in virtual time."""
    return run_anywhere(schedule, MesosWorld, MesosLoop)


def compared(schedule: Schedule) -> tuple[Result, Coverage]:
    """Run a schedule, and without its faults where that can be compared; what differs is a violation."""
    return oracle.compared(schedule, run, MESOS_FAULTS)
