"""certificates: an authority of a test, and what it vouches for."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Use = Literal["server", "client", "both"]
USES: dict[Use, list[x509.ObjectIdentifier]] = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}
SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """An authority and what it vouches for, in PEM files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = self._written("authority", self._key, None, [])

    def made(self, name: str, use: Use, addresses: Sequence[str] = (), *, common_name: bool = True) -> Path:
        """A certificate with its key, in one file: of a client of that name, or of a server on localhost."""
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
        names.insert(0, x509.DNSName("localhost"))
        return self._written(name, ec.generate_private_key(ec.SECP256R1()), use, names, common_name=common_name)

    def made_for(self, name: str, *domains: str) -> Path:
        """As a server has it that is known by these domains."""
        names = [x509.DNSName(one) for one in domains]
        return self._written(name, ec.generate_private_key(ec.SECP256R1()), "server", names)

    def _written(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        use: Use | None,
        names: Sequence[x509.GeneralName],
        *,
        common_name: bool = True,
    ) -> Path:
        now, pem = datetime.now(UTC), serialization.Encoding.PEM
        built = (
            x509.CertificateBuilder()
            .subject_name(_name(name) if common_name else x509.Name([]))
            .issuer_name(_name("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=use is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if use is None:
            built = built.add_extension(SIGNS, critical=True)
        else:
            built = built.add_extension(x509.ExtendedKeyUsage(USES[use]), critical=False)
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=not common_name)
        path = self._folder / f"{name}.pem"
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(built.sign(self._key, hashes.SHA256()).public_bytes(pem) + secret)
        return path


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
