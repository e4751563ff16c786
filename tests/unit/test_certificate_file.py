"""What is taken for a certificate with its key, and what is said of everything else."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509 import load_pem_x509_certificate

from coldchain.documents.certificate_file import BLOCK, read_certificate
from coldchain.model.errors import InvalidDocument
from coldchain.testing.certificates import Authority

DAY_SECONDS = 86400.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def text(authority: Authority) -> str:
    return authority.made_for("shop", "Shop.test", "*.shop.test").read_text()


def now(text: str) -> float:
    return load_pem_x509_certificate(text.encode()).not_valid_before_utc.timestamp() + 60.0


def said(text: str, at: float) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDocument) as refused:
        read_certificate(text, at)
    return [(one.path, one.reason) for one in refused.value.problems]


def blocks(text: str) -> tuple[str, str]:
    certificate, key = (found[0] + "\n" for found in BLOCK.finditer(text))
    return certificate, key


def test_a_certificate_with_its_chain_and_key_in_any_order(text: str, authority: Authority) -> None:
    certificate, key = blocks(text)
    signer, _ = blocks(authority.file.read_text())
    found = read_certificate(f"Bag Attributes\n{key}\nsubject=...\n{certificate}{signer}", now(text))
    assert found.domains == ("shop.test", "*.shop.test")
    assert (found.chain, found.key) == (certificate + signer, key)
    assert found.not_after - found.not_before == pytest.approx(DAY_SECONDS + 60.0)
    assert len(found.fingerprint) == 64


def test_what_is_missing_is_named(text: str) -> None:
    certificate, key = blocks(text)
    at = now(text)
    assert [path for path, _ in said("", at)] == ["/certificate", "/key"]
    assert [path for path, _ in said(certificate, at)] == ["/key"]
    assert [path for path, _ in said(key, at)] == ["/certificate"]
    assert said(text + key, at) == [("/key", "there are several")]
    assert "more than 10" in said(certificate * 11 + key, at)[0][1]


def test_what_does_not_fit_together_is_named(text: str, authority: Authority) -> None:
    certificate, key = blocks(text)
    at = now(text)
    other, other_key = blocks(authority.made_for("other", "other.test").read_text())
    assert said(certificate + other_key, at) == [("/key", "belongs to another certificate than the first one given")]
    assert [path for path, _ in said(certificate + other + key, at)] == ["/certificate/1"]
    assert "belongs to another" in said(other + certificate + key, at)[-1][1]


def test_only_what_is_good_now(text: str) -> None:
    assert "begins on" in said(text, now(text) - 3600.0)[0][1]
    assert "ended on" in said(text, now(text) + 2 * DAY_SECONDS)[0][1]


def test_one_of_no_domain_is_of_no_use(authority: Authority) -> None:
    text = authority.file.read_text()
    assert "names no domain" in said(text, now(text))[0][1]


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, password: bytes | None = None) -> str:
    form = serialization.PrivateFormat.PKCS8
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, hidden).decode()


def test_keys_that_consumers_or_we_cannot_use(text: str) -> None:
    certificate, key = blocks(text)
    at = now(text)
    expected = {
        pem(rsa.generate_private_key(65537, 1024)): "has 1024 bits: at least 2048",
        pem(ed25519.Ed25519PrivateKey.generate()): "is neither RSA nor",
        pem(ed25519.Ed25519PrivateKey.generate(), b"password"): "is encrypted",
        key.replace("M", "-", 1): "cannot be read",
    }
    for bad, words in expected.items():
        reasons = [reason for _, reason in said(certificate + bad, at)]
        assert words in reasons[0]
        secret = bad.splitlines()[1]
        assert not any(secret in reason for reason in reasons)


def test_a_certificate_that_cannot_be_read(text: str) -> None:
    certificate, key = blocks(text)
    broken = certificate.replace("MII", "MIX", 1)
    assert said(broken + key, now(text)) == [("/certificate/0", "cannot be read")]
