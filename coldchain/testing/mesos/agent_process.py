"""`python -m coldchain.testing.mesos.agent_process MASTER SESSION_SECONDS FLAGS…`: a process that becomes agents.

Each of FLAGS is a JSON object of one agent's flags; what all have in common is in the environment. The first is the
actor `slave(1)`, as in a real agent's process. # their word
It ends when the first agent does, which SIGUSR1 asks for: the agent then takes leave of the master, with its tasks.
"""

import json
import os
import sys
from collections.abc import Mapping

from coldchain.testing.mesos import native
from coldchain.testing.mesos.native import OPTION_STRING, STRING

_CONTAINERIZER = (
    "_ZN5mesos8internal5slave13Containerizer6createERKNS1_5FlagsEbPNS1_7FetcherEPNS1_16GarbageCollectorE"
    "PNS_14SecretResolverEPNS1_16VolumeGidManagerEPNS0_20PendingFutureTrackerEPNS1_9CSIServerE"
)
_AGENT = (
    f"_ZN5mesos8internal5slave5SlaveC1ERK{STRING}RKNS1_5FlagsEPNS_6master8detector14MasterDetectorE"
    "PNS1_13ContainerizerEPNS0_5FilesEPNS1_16GarbageCollectorEPNS1_23TaskStatusUpdateManagerE"
    "PNS_5slave17ResourceEstimatorEPNSQ_13QoSControllerEPNS_15SecretGeneratorEPNS1_16VolumeGidManagerE"
    "PNS0_20PendingFutureTrackerEON7process5OwnedINS1_9CSIServerEEE"
    "RK6OptionINS11_7network8internal6SocketINS17_4unix7AddressEEEERKS16_IPNS_10AuthorizerEE"
)


def start(name: str, flags: Mapping[str, str], detector: int, files: int) -> int:
    """One agent; returns what to wait for."""
    for folder in ("work_dir", "runtime_dir"):
        os.makedirs(flags[folder], exist_ok=True)
    loaded = native.room(1 << 17)
    native.call("_ZN5mesos8internal5slave5FlagsC1Ev", loaded)
    native.load_flags(loaded, flags)
    fetcher, collector, updates = native.room(4096), native.room(4096), native.room(4096)
    native.call("_ZN5mesos8internal5slave7FetcherC1ERKNS1_5FlagsE", fetcher, loaded)
    native.call(f"_ZN5mesos8internal5slave16GarbageCollectorC1ERK{STRING}", collector, native.string(flags["work_dir"]))
    native.call("_ZN5mesos8internal5slave23TaskStatusUpdateManagerC1ERKNS1_5FlagsE", updates, loaded)
    resolver, estimator, controller = (
        native.made(f"_ZN5mesos{kind}6createERK{OPTION_STRING}", native.nothing())
        for kind in ("14SecretResolver", "5slave17ResourceEstimator", "5slave13QoSController")
    )
    containerizer = native.made(_CONTAINERIZER, loaded, False, fetcher, collector, resolver, None, None, None)
    agent = native.room(1 << 18)
    parts = (detector, containerizer, files, collector, updates, estimator, controller, None, None, None)
    no_csi_server = native.room(16)
    native.call(_AGENT, agent, native.string(name), loaded, *parts, no_csi_server, native.nothing(), native.nothing())
    return native.spawn(agent)


def main() -> None:
    master, session_seconds, *all_flags = sys.argv[1:]
    native.initialize("slave(1)")
    detector, files = native.detector(master, float(session_seconds)), native.files("mesos-ro")
    started = [
        start(f"slave({number})", json.loads(flags), detector, files) for number, flags in enumerate(all_flags, start=1)
    ]
    native.wait(started[0])
    os._exit(0)  # the library's threads outlive their objects


if __name__ == "__main__":
    main()
