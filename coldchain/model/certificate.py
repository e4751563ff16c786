"""certificate: what the gateway shows consumers over TLS, as it is kept."""

from coldchain.model.base import Noun


class KeptCertificate(Noun, frozen=True, kw_only=True):
    """A certificate with its chain (PEM), and its key as only the holder of key `key_id` can read it (base64).

    `domains`: for which it was made out; `default`: shown to whoever asks for no domain that has one. `fingerprint`:
    SHA-256 of the certificate, hexadecimal. Times in seconds since the epoch; `cause`: who put it here.
    """

    name: str
    domains: tuple[str, ...]
    chain: str
    key_id: str
    sealed: str
    fingerprint: str
    not_before: float
    not_after: float
    changed_at: float
    cause: str
    default: bool = False
