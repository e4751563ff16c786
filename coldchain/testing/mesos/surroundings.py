"""What the processes of a lab are started with: environment, ports, certificates, programs."""

import dataclasses
import os
import ssl
import sys
import tempfile
from pathlib import Path

from coldchain.testing.certificates import Authority
from coldchain.testing.mesos.library import find_library
from coldchain.testing.mesos.settings import PORTS_PER_AGENT, AgentSettings
from coldchain.testing.ports import RANGE

_FOLDER = Path(__file__).parent / "programs"
EXECUTOR = _FOLDER / "executor.py"
SAYING = _FOLDER / "saying.py"
PROGRAMS = {
    "mesos-containerizer": _FOLDER / "containerizer.py",
    "mesos-executor": EXECUTOR,
    "mesos-docker-executor": EXECUTOR,
}
"""What an agent starts, and what stands in for it."""
AGENT_PORTS_FIRST = RANGE.stop
AGENTS_WITH_PORTS = 30


class Surroundings:
    """Of one lab. `authority`: the certificate that vouches for its servers, with TLS; `trust`: what a client needs."""

    def __init__(self, folder: Path, *, tls: bool, log_level: int) -> None:
        self.authority: Path | None = None
        self.trust: ssl.SSLContext | None = None
        self._certificates = folder / "certificates"
        self._log_level = log_level
        if tls:
            self._certificates.mkdir()
            authority = Authority(self._certificates)
            authority.made("server", "server", ["127.0.0.1"])
            self.authority = authority.file
            self.trust = ssl.create_default_context(cafile=str(authority.file))

    def environment(self, port: int, address: str = "127.0.0.1") -> dict[str, str]:
        """Nothing of ours but what the processes need: a variable MESOS_… of the test's own would be a flag."""
        kept = find_library()
        found = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "TMPDIR": tempfile.gettempdir(),
            "LIBPROCESS_IP": address,
            "LIBPROCESS_PORT": str(port),
            "LIBPROCESS_NUM_WORKER_THREADS": "8",
            "LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT": "",
            "GLOG_minloglevel": str(self._log_level),
            "COLDCHAIN_LAB_LIBMESOS": str(kept / "libmesos.so"),
        }
        if self.authority:
            pem = str(self._certificates / "server.pem")
            found |= {
                "COLDCHAIN_LAB_OPENSSL": str(kept / "openssl"),
                "LD_LIBRARY_PATH": str(kept / "openssl"),
                "LIBPROCESS_SSL_ENABLED": "true",
                "LIBPROCESS_SSL_CIPHERS": "ECDHE-ECDSA-AES128-GCM-SHA256",  # its own are for other keys
                "LIBPROCESS_SSL_KEY_FILE": pem,
                "LIBPROCESS_SSL_CERT_FILE": pem,
                "LIBPROCESS_SSL_CA_FILE": str(self.authority),
            }
        return found

    def flags(self, settings: AgentSettings, name: str, folder: Path, number: int) -> dict[str, str]:
        """Of the agent of that number."""
        first = AGENT_PORTS_FIRST + (number - 1) % AGENTS_WITH_PORTS * PORTS_PER_AGENT
        if self.authority:  # an agent tells its executors nothing of TLS
            known = {"LIBPROCESS_SSL_ENABLED": "true", "LIBPROCESS_SSL_CA_FILE": str(self.authority)}
            settings = dataclasses.replace(settings, variables={**known, **settings.variables})
        return settings.all_flags(name, str(folder), first)


def place_programs(folder: Path) -> Path:
    """A folder below this one where an agent finds what it starts."""
    found = folder / "programs"
    found.mkdir()
    for name, program in PROGRAMS.items():
        script = found / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{program}" "$@"\n')
        script.chmod(0o755)
    return found
