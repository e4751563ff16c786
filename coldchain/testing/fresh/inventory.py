"""inventory: everything that a command could leave behind on a machine."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

from coldchain.testing.fresh.machine import FreshMachine
from coldchain.testing.sandbox import cgroups

_FOLDERS = ("tmp", "var/tmp", "root", "home", "opt", "srv", "usr/local/bin")
"""Where programs like to leave things: the names in them count."""
_DOCKER = ("var/lib/docker", "var/lib/containerd")
_SERVICES = ("etc/systemd/system/*.wants/*", "etc/rc[2345].d/S*")
"""The links by which systemd or the older init starts something with the machine."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Each field maps or lists names that say by themselves what they are."""

    processes: frozenset[str]
    links: frozenset[str]
    rules: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    images_and_containers: frozenset[str]
    services: frozenset[str]
    left_files: frozenset[str]
    checkout: frozenset[str]
    packages: frozenset[str]
    configuration: dict[str, str]
    """Each file below /etc with the digest of its content, or where a link leads."""


AT_SET_UP = frozenset({"packages", "configuration", "images_and_containers"})
"""What may change when packages are installed; what runs or starts by itself may not."""


def take(machine: FreshMachine) -> Inventory:
    """Everything, now."""
    root = machine.root
    return Inventory(
        processes=frozenset(_processes()),
        links=frozenset(link["ifname"] for link in json.loads(_output("ip", "-json", "link"))),
        rules=frozenset(_rules()),
        mounts=frozenset(line.split()[4] for line in Path(f"/proc/{machine.pid}/mountinfo").read_text().splitlines()),
        cgroups=frozenset(map(str, cgroups.directories(machine.cgroup_parent))),
        images_and_containers=frozenset(_below(root, _DOCKER)),
        services=frozenset(str(path.relative_to(root)) for pattern in _SERVICES for path in root.glob(pattern)),
        left_files=frozenset(f"{name}/{one}" for name in _FOLDERS for one in _names(root / name)),
        checkout=frozenset(_output("git", "-C", str(machine.checkout), "status", "--porcelain").splitlines()),
        packages=frozenset(_output("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W").splitlines()),
        configuration=dict(_configuration(root)),
    )


def differences(before: Inventory, after: Inventory, allowed: Iterable[str] = ()) -> list[str]:
    """What is new (`+`), gone (`-`) or changed (`~`), with the field it belongs to; those of `allowed` left out."""
    found = []
    for name in Inventory.__struct_fields__:
        if name in allowed:
            continue
        one, other = getattr(before, name), getattr(after, name)
        found += [f"{name}: + {item}" for item in sorted(set(other) - set(one))]
        found += [f"{name}: - {item}" for item in sorted(set(one) - set(other))]
        if isinstance(one, dict):
            found += [f"{name}: ~ {item}" for item in sorted(one.keys() & other) if one[item] != other[item]]
    return found


def _processes() -> Iterable[str]:
    """All of the sandbox but ourselves, our parents, and what we run to look."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "ZX" and words:
                yield f"{entry.name} {words[:200]}"


def _rules() -> Iterable[str]:
    """nft's and iptables' rules without their counters."""
    yield from (f"nft {line.strip()}" for line in _output("nft", "--stateless", "list", "ruleset").splitlines())
    for program in ("iptables-save", "ip6tables-save"):
        for line in _output(program).splitlines():
            if not line.startswith("#"):
                yield f"{program} {line.partition('[')[0]}"


def _below(root: Path, folders: Iterable[str]) -> Iterable[str]:
    for folder in folders:
        for path, _, files in os.walk(root / folder):
            yield from (str(Path(path, name).relative_to(root)) for name in files)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _configuration(root: Path) -> Iterable[tuple[str, str]]:
    for folder, folders, files in os.walk(root / "etc"):
        for name in (*files, *folders):
            path = Path(folder, name)
            if path.is_symlink():
                yield str(path.relative_to(root)), f"→ {path.readlink()}"
            elif path.is_file():
                yield str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
