"""`python -m coldchain.testing.mesos.master_process ZK QUORUM SESSION_SECONDS`: a process that becomes a master.

Without ZK (an empty word) it leads alone. Its flags are in the environment, as those of a real one.
"""

import os
import struct
import sys
from ctypes import addressof, c_char, c_int, c_ulong

from coldchain.testing.mesos import native
from coldchain.testing.mesos.native import OPTION_STRING, STRING

_LOG = f"_ZN5mesos3log3LogC1EiRK{STRING}S9_RK8DurationS9_RK6OptionIN9zookeeper14AuthenticationEEbRKSD_IS7_E"
_CONTENDER = f"_ZN5mesos6master9contender15MasterContender6createERK{OPTION_STRING}SC_RKS3_I8DurationE"
_MASTER = (
    "_ZN5mesos8internal6master6MasterC1EPNS_9allocator9AllocatorEPNS1_9RegistrarEPNS0_5FilesE"
    "PNS_6master9contender15MasterContenderEPNSA_8detector14MasterDetectorERK6OptionIPNS_10AuthorizerEE"
    "RKSH_ISt10shared_ptrIN7process11RateLimiterEEERKNS1_5FlagsE"
)
_ALLOCATOR = (
    "_ZN5mesos8internal6master9allocator14MesosAllocatorINS2_28HierarchicalAllocatorProcessINS2_9DRFSorterES5_EEEC1Ev"
)


def lead_alone() -> None:
    """The library's own `mesos-local`, with no agent in it."""
    flags = native.room()
    native.call("_ZN5mesos8internal5local5FlagsC1Ev", flags)
    native.load_flags(flags, {"num_slaves": "0"})
    native.initialize("master")
    name = "_ZN5mesos8internal5local6launchERKNS1_5FlagsEPNS_9allocator9AllocatorE"
    native.call(name, native.room(4096), flags, None)


def contend(zookeeper: str, quorum: int, session_seconds: float) -> None:
    """One of several, of which ZooKeeper lets one lead."""
    flags = native.room(1 << 17)
    native.call("_ZN5mesos8internal6master5FlagsC1Ev", flags)
    native.load_flags(flags, {"zk": zookeeper, "quorum": str(quorum)})
    native.initialize("master")
    allocator = native.room(8192)
    native.call(_ALLOCATOR, allocator)
    registrar = native.room(4096)
    name = f"_ZN5mesos8internal6master9RegistrarC1ERKNS1_5FlagsEPNS_5state5StateERK{OPTION_STRING}"
    native.call(name, registrar, flags, _state(zookeeper, quorum), native.some_string("mesos-ro"))
    contender = native.made(
        _CONTENDER, native.some_string(zookeeper), native.nothing(), native.some_duration(session_seconds)
    )
    master = native.room(1 << 18)
    parts = (allocator, registrar, native.files("mesos-ro"), contender, native.detector(zookeeper, session_seconds))
    native.call(_MASTER, master, *parts, native.nothing(), native.nothing(), flags)
    native.spawn(master)


def _state(zookeeper: str, quorum: int) -> int:
    """Where the registry of agents is kept: an object of its table of functions and its storage."""
    storage = native.room(4096)
    if os.environ["MESOS_REGISTRY"] == "in_memory":
        native.call("_ZN5mesos5state15InMemoryStorageC1Ev", storage)
    else:
        os.makedirs(os.environ["MESOS_WORK_DIR"], exist_ok=True)
        servers, _, path = zookeeper.removeprefix("zk://").partition("/")
        log = native.room(8192)
        native.call(
            _LOG,
            log,
            c_int(quorum),
            native.string(f"{os.environ['MESOS_WORK_DIR']}/replicated_log"),
            native.string(servers),
            native.duration(10),
            native.string(f"/{path}/log_replicas"),  # their word
            native.nothing(),
            True,
            native.some_string("registrar/"),
        )
        native.call("_ZN5mesos5state10LogStorageC1EPNS_3log3LogEm", storage, log, c_ulong(0))
    state = native.room(64)
    table = addressof(c_char.in_dll(native.library, "_ZTVN5mesos5state8protobuf5StateE")) + 16
    native.write(state, struct.pack("<QQ", table, storage))
    return state


def main() -> None:
    zookeeper, quorum, session_seconds = sys.argv[1:]
    if zookeeper:
        contend(zookeeper, int(quorum), float(session_seconds))
    else:
        lead_alone()


if __name__ == "__main__":
    main()
    native.sleep_for_ever()
