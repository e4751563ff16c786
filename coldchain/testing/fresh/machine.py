"""machine: a Debian root of the smallest kind, entered as if it were a machine: own mounts, own /run, own cgroups."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from coldchain.model.errors import Unavailable
from coldchain.testing.sandbox import cgroups, roots
from coldchain.testing.sandbox.uplink import RESOLVER

SUITES = {"12": "bookworm", "13": "trixie"}
CHECKOUT = Path("/srv/coldchain")
CERTIFICATES = Path("/usr/local/share/coldchain-fresh.crt")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FURNISH = roots.FURNISH + roots.ENTER + "echo ready\nexec sleep infinity\n"


class FreshMachine:
    """One Debian. `create`, then `run` as often as needed; the sandbox around it takes everything down."""

    def __init__(self, release: str, folder: Path) -> None:
        self.release = release
        self.root = folder / f"debian-{release}"
        self.cgroup_parent = f"{os.environ['COLDCHAIN_CGROUP_PARENT']}/debian-{release}"
        self._holder: subprocess.Popen[str] | None = None

    def create(self, source: Path) -> None:
        """The smallest Debian, with a clone of what is committed in `source`, and nothing else. Raises Unavailable."""
        command = ["debootstrap", "--variant=minbase", SUITES[self.release], str(self.root)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Unavailable(
                f"debootstrap failed: {made.stdout[-1500:]}{made.stderr[-500:]}",
                todo="Does this machine reach a Debian mirror?",
            )
        resolver = self.root / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.write_text(f"nameserver {RESOLVER}\n")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        if certificates := os.environ.get("PIP_CERT"):
            shutil.copy(certificates, self.root / CERTIFICATES.relative_to("/"))
        subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{source}", str(self.checkout)], check=True)

    @property
    def checkout(self) -> Path:
        """The clone, as seen from outside."""
        return self.root / CHECKOUT.relative_to("/")

    @property
    def pid(self) -> int:
        """A process that lives in it from `enter` on."""
        assert self._holder is not None
        return self._holder.pid

    def enter(self) -> None:
        """Give it mounts and cgroups that last from now on."""
        hierarchies = cgroups.hierarchies()
        for hierarchy in hierarchies:
            cgroups.make(hierarchy, self.cgroup_parent)
        command = ["unshare", "--mount", "--uts", "sh", "-euc", _FURNISH, "furnish", str(self.root), self.cgroup_parent]
        self._holder = subprocess.Popen([*command, *map(str, hierarchies)], stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise Unavailable(f"Debian {self.release} could not be entered", todo="The lines above say why")

    def run(self, command: Sequence[str]) -> int:
        """Run a command in the clone, as root who just logged in; its exit status. Its output is ours."""
        environment = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}
        if "PIP_CERT" in os.environ:
            environment["PIP_CERT"] = str(CERTIFICATES)
        if "PIP_INDEX_URL" in os.environ:
            environment["PIP_INDEX_URL"] = os.environ["PIP_INDEX_URL"]
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--"]
        enter += ["sh", "-c", 'cd "$0" && exec "$@"', str(CHECKOUT)]
        return subprocess.run([*enter, *command], env=environment, stdin=subprocess.DEVNULL).returncode

    def version(self, *command: str) -> str:
        """The first line that a command in it prints of itself."""
        found = subprocess.run(["chroot", self.root, *command], capture_output=True, text=True, env={"PATH": PATH})
        return (found.stdout + found.stderr).partition("\n")[0]

    def remove(self) -> None:
        """End all that runs in it, and remove its files and cgroups."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            self._holder = None
        cgroups.remove(self.cgroup_parent)
        shutil.rmtree(self.root, ignore_errors=True)
