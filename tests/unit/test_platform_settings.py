"""What the options of `up` make of the parts' settings."""

from pathlib import Path

import pytest
import typer

from coldchain.decisions.admission import judge
from coldchain.documents.application import decode_app
from coldchain.gateway.settings import GatewayMemory
from coldchain.main.settings import PlatformSettings
from coldchain.main.store_options import ETCD_CREDENTIALS, etcd_access
from coldchain.main.stores import EtcdAccess, open_etcd, open_source
from coldchain.model.errors import InvalidDocument, Rejected
from coldchain.testing.inadmissible import container, mount


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "eth0", ""])
def test_ports_are_published_on_a_named_address(address: str) -> None:
    with pytest.raises(InvalidDocument, match="--publish-address"):
        PlatformSettings(publish_address=address).docker_settings()


def test_what_is_the_platforms_own_is_not_mounted(tmp_path: Path) -> None:
    """Under the name that was given and under the true one."""
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "true")
    settings = PlatformSettings(
        data=tmp_path / "link",
        docker_socket=str(tmp_path / "engine"),
        secret_keys=tmp_path / "keys",
        docker_credentials=tmp_path / "config.json",
        etcd=EtcdAccess(certificate=tmp_path / "client.pem", key=tmp_path / "client.key"),
    )
    policy = settings.admission_policy()
    for path in ("link/store.sqlite", "true", "keys", "config.json", "client.pem", "client.key", "."):
        assert [one.rule for one in judge(decode_app(mount(f"{tmp_path / path}")), policy)] == ["host-path"], path
    assert [one.rule for one in judge(decode_app(mount(f"{tmp_path}/engine")), policy)] == ["docker-socket"]
    assert judge(decode_app(mount(f"{tmp_path}/other")), policy) == ()


def test_groups_are_restricted_and_overrides_forbidden() -> None:
    policy = PlatformSettings(restricted_groups=("/",), overrides=False).admission_policy()
    assert {one.rule for one in judge(decode_app(container()), policy)} >= {"restricted-user", "restricted-image"}
    assert not policy.overrides


def test_attributes_are_written_as_constraints_compare_them() -> None:
    settings = PlatformSettings(attributes=("rack=r1", "level=0.80", "kind=a=b"), region="north", zone="n1")
    offered = settings.engine_settings()
    assert offered.attributes == {"rack": "r1", "level": "0.8", "kind": "a=b"}
    assert (offered.region, offered.zone) == ("north", "n1")


@pytest.mark.parametrize("given", [("rack",), ("rack=",), ("@zone=z",), ("=r1",), ("hostname=a",), ("a=1", "a=2")])
def test_attributes_that_no_constraint_could_name_are_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(InvalidDocument, match="--attribute"):
        PlatformSettings(attributes=given).engine_settings()


def test_what_is_wrong_with_the_gateway_is_said_of_the_options() -> None:
    settings = PlatformSettings(
        data=Path("/" + "x" * 100),
        gateway=("here",),
        gateway_tls=("443",),
        gateway_status="a",
        gateway_trusted_proxies=("everybody",),
        gateway_mark_trusted=("10.0.0.0/99",),
        gateway_mark_header="Host",
        gateway_memory=GatewayMemory(control=1),
    )
    with pytest.raises(InvalidDocument) as caught:
        settings.gateway_settings()
    assert [one.path for one in caught.value.problems] == [
        "--data",
        "--gateway",
        "--gateway-tls",
        "--gateway-status",
        "--gateway-mark-header",
        "--gateway-trusted-proxy",
        "--gateway-mark-trusted",
        "--gateway-memory",
    ]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/var/lib/store", "is not etcd://HOST:PORT"),
        ("etcd://", "'': is not HOST:PORT"),
        ("etcd://host", "'host': is not HOST:PORT"),
        ("etcd://a:2379,,b:2379", "'': is not HOST:PORT"),
        ("etcd://a:0", "'a:0': is not HOST:PORT"),
        ("etcd://a:2379,a:2379", "names an endpoint twice"),
        ("etcd://a:2379/one/two", "'one/two' is not a name"),
        ("etcd://a:2379/.", "is not a name"),
        ("etcd://me:secret@a:2379", "'a:2379': credentials belong into --etcd-credentials-file"),
    ],
)
def test_what_is_wrong_with_the_address_of_an_etcd_is_said(address: str, said: str) -> None:
    with pytest.raises(InvalidDocument, match="--store") as caught:
        PlatformSettings(store=address).check()
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_an_etcd_has_endpoints_a_name_and_a_user(tmp_path: Path) -> None:
    for address in ("etcd://a:2379", "etcd://10.0.0.1:2379,[::1]:2379,host-3.example:22/shop.staging"):
        PlatformSettings(store=address).check()
        await open_etcd(address, EtcdAccess(credentials="shop:with:colons")).close()
    for access, said in (
        (EtcdAccess(credentials="nobody"), "--etcd-credentials-file: has no NAME:PASSWORD"),
        (EtcdAccess(certificate=tmp_path / "c"), "--etcd-certificate: is shown over TLS only"),
        (EtcdAccess(authority=tmp_path / "absent"), "--etcd-authority: .*cannot be read"),
    ):
        with pytest.raises(InvalidDocument, match=said):
            open_etcd("etcd://a:2379", access)
    assert "colons" not in repr(EtcdAccess(credentials="shop:with:colons"))


def test_the_password_of_etcd_comes_from_a_file_or_a_variable_that_no_child_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text("file:password\n")
    monkeypatch.setenv(ETCD_CREDENTIALS, "variable:password")
    assert etcd_access(None, None, None, None).credentials == "variable:password"
    assert etcd_access(None, None, None, None).credentials is None
    assert etcd_access(None, None, None, tmp_path / "credentials").credentials == "file:password"
    with pytest.raises(typer.BadParameter) as caught:
        etcd_access(None, None, None, tmp_path / "absent")
    assert caught.value.param_hint == "--etcd-credentials-file"


def test_a_file_to_migrate_from_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="there is no store"):
        open_source(str(tmp_path / "store.sqlite"), EtcdAccess(), "FROM")
    assert list(tmp_path.iterdir()) == []
