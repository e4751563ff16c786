"""Names of images, what they resolve to, and pull credentials."""

import json
from pathlib import Path

import pytest

from coldchain.model.errors import Rejected
from coldchain.runners.docker import DockerSettings
from coldchain.runners.docker.images import Reference, find_credentials, parse_reference, resolved_image

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("shop", Reference("shop", "latest", "docker.io", "library/shop")),
        ("team/shop:1.2", Reference("team/shop", "1.2", "docker.io", "team/shop")),
        ("registry.test/shop", Reference("registry.test/shop", "latest", "registry.test", "shop")),
        ("registry:5000/a/shop:2", Reference("registry:5000/a/shop", "2", "registry:5000", "a/shop")),
        ("localhost/shop", Reference("localhost/shop", "latest", "localhost", "shop")),
        (f"registry:5000/shop@{DIGEST}", Reference("registry:5000/shop", DIGEST, "registry:5000", "shop")),
        (f"shop:1@{DIGEST}", Reference("shop", DIGEST, "docker.io", "library/shop")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


def test_resolved_to_the_digest_of_its_own_registry() -> None:
    document = {"Id": "sha256:id", "RepoDigests": [f"other.test/shop@{DIGEST}", f"registry.test/shop@{DIGEST}"]}
    assert resolved_image(parse_reference("registry.test/shop:1"), document) == f"registry.test/shop@{DIGEST}"
    assert resolved_image(parse_reference("shop:1"), document) == "sha256:id"
    assert resolved_image(parse_reference("shop:1"), {"Id": "sha256:id", "RepoDigests": None}) == "sha256:id"


def settings_with(folder: Path, document: object) -> DockerSettings:
    path = folder / "config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return DockerSettings(credentials=path)


def test_credentials_by_reference(tmp_path: Path) -> None:
    hub, own = "https://index.docker.io/v1/", "registry.test:5000"
    settings = settings_with(tmp_path, {"auths": {hub: {"auth": "dTpwOnE="}, own: {"username": "u", "password": "p"}}})
    assert find_credentials(settings, parse_reference("shop"), hub) == {
        "username": "u",
        "password": "p:q",
        "serveraddress": hub,
    }
    assert find_credentials(settings, parse_reference(f"{own}/shop"), own) == {
        "username": "u",
        "password": "p",
        "serveraddress": own,
    }


def test_credentials_never_go_to_another_registry(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, {"auths": {"registry.test": {"auth": "c2VjcmV0"}}})
    with pytest.raises(Rejected, match=r"are for registry\.test, but evil\.test/shop comes from evil\.test") as caught:
        find_credentials(settings, parse_reference("evil.test/shop"), "registry.test")
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("document", ["no json: c2VjcmV0", "[]", {}, {"auths": {}}, {"auths": None}])
def test_credentials_that_are_not_there(tmp_path: Path, document: object) -> None:
    with pytest.raises(Rejected, match=r"has no entry 'registry\.test'") as caught:
        find_credentials(settings_with(tmp_path, document), parse_reference("registry.test/shop"), "registry.test")
    assert "c2VjcmV0" not in str(caught.value)


def test_credentials_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="this machine has none"):
        find_credentials(DockerSettings(), parse_reference("registry.test/shop"), "registry.test")
    with pytest.raises(Rejected, match="cannot read"):
        find_credentials(
            DockerSettings(credentials=tmp_path / "x"), parse_reference("registry.test/s"), "registry.test"
        )


def test_damaged_credentials(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, {"auths": {"registry.test": {"auth": "c2VjcmV0*"}}})
    with pytest.raises(Rejected, match="is damaged") as caught:
        find_credentials(settings, parse_reference("registry.test/shop"), "registry.test")
    assert "c2VjcmV0" not in str(caught.value)
