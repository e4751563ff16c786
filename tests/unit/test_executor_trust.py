"""By what an executor knows an agent that speaks TLS."""

from pathlib import Path

import pytest

from coldchain.engines.executor.environment import AUTHORITY, read_environment
from coldchain.engines.executor.trust import trust_of
from coldchain.main.mesos import executor_environment
from coldchain.main.mesos_access import MesosAccess
from coldchain.model.errors import Rejected
from coldchain.testing.certificates import Authority

VARIABLES = {
    "MESOS_AGENT_ENDPOINT": "10.0.0.7:5051",
    "MESOS_SLAVE_PID": "slave(1)@10.0.0.7:5051",
    "MESOS_FRAMEWORK_ID": "F",
    "MESOS_EXECUTOR_ID": "coldchain-1",
    "MESOS_SANDBOX": "/var/lib/mesos/slaves/S0/frameworks/F/executors/coldchain-1/runs/1f-2e",
}


def test_an_agent_without_tls_needs_none() -> None:
    assert trust_of(read_environment(VARIABLES)) is None
    assert executor_environment(MesosAccess(master="m:5050")) == {}


def test_what_masters_are_known_by_is_handed_on(tmp_path: Path) -> None:
    access = MesosAccess(master="m:5050", authority=Authority(tmp_path).file)
    environment = read_environment(VARIABLES | executor_environment(access))
    assert environment.url.startswith("https://10.0.0.7:5051/")
    context = trust_of(environment)
    assert context is not None
    assert context.cert_store_stats()["x509_ca"] == 1


def test_what_the_agent_says_counts_as_well(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    shown = str(authority.made("executor", "client"))
    variables = VARIABLES | {
        "LIBPROCESS_SSL_ENABLED": "1",
        "LIBPROCESS_SSL_CA_FILE": str(authority.file),
        "LIBPROCESS_SSL_CERT_FILE": shown,
        "LIBPROCESS_SSL_KEY_FILE": shown,
        AUTHORITY: other.file.read_text(),
    }
    context = trust_of(read_environment(variables))
    assert context is not None
    assert context.cert_store_stats()["x509_ca"] == 2


def test_an_authority_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    variables = VARIABLES | {"LIBPROCESS_SSL_ENABLED": "true", "LIBPROCESS_SSL_CA_FILE": str(tmp_path / "none")}
    with pytest.raises(Rejected, match="of TLS cannot be used"):
        trust_of(read_environment(variables))
