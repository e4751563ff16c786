"""keeper: has the folder, switch and disks of a lab, boots its machines, and takes all down when no orders come more.

A child of the process that uses the lab, in a session of its own. Orders come as lines of JSON on standard input, each
gets one line of answer. When the other end is closed, in whatever way that process ended, all machines are killed, and
their cgroups and the folder of the lab removed; links and mounts go with the namespaces. A keeper that is killed itself
takes the machines with it; cgroups and folder are then left to the sandbox.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from coldchain.testing.sandbox import cgroups, kernel, roots
from coldchain.testing.sandbox.identity import MARK, Identity
from coldchain.testing.sandbox.surroundings import become_init, loopback_up

CHECKOUT = Path(__file__).parents[3]

_DISK = """
mkdir -p "$disk/changed" "$disk/work" "$disk/docker" "$1"
mount -t overlay -o "lowerdir=/,upperdir=$disk/changed,workdir=$disk/work" overlay "$1"
"""
"""The machine's root is what this one has on its own root, with the changes that it made itself."""
_SHARED = """
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
if [ ! -e "$disk/booted" ]; then
    rm -rf "$root/etc/docker" "$root/var/lib/coldchain" "$root/var/lib/docker" "$root/etc/machine-id"
    : >"$disk/booted"
fi
mkdir -p "$root/etc/docker" "$root/var/lib/docker"
mount --bind "$disk/docker" "$root/var/lib/docker"
for folder in "$lab" "$checkout"; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
done
"""
"""Docker's own overlays cannot stand on one, so its folder lies beside the root. What the lab and the checkout hold is
seen at the same paths."""


class Keeper:
    """`machines`: the init of each that runs."""

    def __init__(self, folder: Path, cgroup_parent: str) -> None:
        self.machines: dict[str, int] = {}
        self._folder = folder
        self._cgroup_parent = cgroup_parent
        self._disks = folder / "disks"
        folder.mkdir()
        folder.chmod(0o755)
        self._processes = os.open("/proc/self/ns/pid", os.O_RDONLY)
        kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_NETWORK)
        kernel.make_mounts_private()
        self._disks.mkdir()
        kernel.mount("tmpfs", str(self._disks), "mode=755")
        loopback_up()

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if "boot" in order:
            return self._boot(order["boot"])
        self._power_off(order["power_off"])
        return {}

    def end(self) -> list[str]:
        """Returns what would not go."""
        for name in list(self.machines):
            self._power_off(name)
        left = cgroups.remove(self._cgroup_parent)
        with contextlib.suppress(OSError):
            kernel.unmount_lazily(str(self._disks))
        shutil.rmtree(self._folder, ignore_errors=True)
        return [*map(str, left), *([str(self._folder)] if self._folder.exists() else [])]

    def _boot(self, names: list[str]) -> dict[str, Any]:
        """All at once; answers with the number of the init of each, or with the reason why one does not stand."""
        reports = {name: self._fork(name) for name in names}
        answer: dict[str, Any] = {}
        for name, report in reports.items():
            with os.fdopen(report) as lines:
                said = lines.read()
            answer[name] = self.machines[name]
            if said != "ready\n":
                answer["error"] = f"{name}: {said.strip() or 'its init ended early'}"
        return answer

    def _fork(self, name: str) -> int:
        """Returns where its init reports to."""
        identity = Identity(name, self._folder, f"{self._cgroup_parent}/{name}")
        for hierarchy in cgroups.hierarchies():
            cgroups.make(hierarchy, identity.cgroup_parent)
        reader, writer = os.pipe()
        kernel.unshare(kernel.NEW_PROCESSES)
        init = os.fork()
        if init == 0:
            os.setsid()
            _leave_orders()
            become_init(identity, writer, self._furnish)
        os.close(writer)
        kernel.enter_namespace(self._processes, kernel.NEW_PROCESSES)  # or there could be no second machine
        self.machines[name] = init
        return reader

    def _furnish(self, identity: Identity) -> None:
        """Runs in the machine's init."""
        disk = self._disks / identity.name
        variables = {"disk": str(disk), "lab": str(self._folder), "checkout": str(CHECKOUT), "PATH": os.environ["PATH"]}
        script = _DISK + roots.FURNISH + _SHARED + roots.ENTER
        arguments = [str(disk / "root"), identity.cgroup_parent, *map(str, cgroups.hierarchies())]
        done = subprocess.run(
            ["sh", "-euc", script, "furnish", *arguments], env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise OSError(0, " ".join(done.stderr.split()))
        os.chdir("/")
        MARK.write_text(identity.name)
        socket.sethostname(identity.name)
        Path("/etc/hostname").write_text(f"{identity.name}\n")
        shutil.copyfile(self._folder / "hosts", "/etc/hosts")
        loopback_up()
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def _power_off(self, name: str) -> None:
        """No farewell: the kernel ends all its processes, and buries init last."""
        init = self.machines.pop(name, 0)
        if init:
            os.kill(init, signal.SIGKILL)
            os.waitpid(init, 0)


def _leave_orders() -> None:
    """The machine must not keep the keeper's pipes open."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keeper = Keeper(Path(sys.argv[1]), sys.argv[2])
    left: list[str] = []
    try:
        print(json.dumps({"keeper": os.getpid()}), flush=True)
        for line in sys.stdin:
            print(json.dumps(keeper.obey(json.loads(line))), flush=True)
    finally:
        left = keeper.end()
    if left:
        print(f"keeper: left behind: {', '.join(left)}", file=sys.stderr, flush=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
