"""gateway_resource: what gateways know beside services and routes, one by one, under `kind/name`."""

from typing import Literal

from coldchain.model.base import Noun
from coldchain.model.gray import GrayRule, Side
from coldchain.model.secret import MASK

SHARES = 10_000
"""The shares of a gray release are whole numbers of this many."""


class ApiKeyDigest(Noun, frozen=True, kw_only=True):
    """By what an API key is recognised: SHA-256 of it, in hexadecimal digits."""

    digest: str
    expires_at: float | None = None


class SharedSecret(Noun, frozen=True, kw_only=True):
    """What a consumer signs with, and therefore a gateway has to know: `value` in base64. It is good for one use."""

    id: str
    use: Literal["hmac", "jwt"]
    value: str
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"SharedSecret(id={self.id!r}, use={self.use!r}, value={MASK!r}, expires_at={self.expires_at!r})"


class Consumer(Noun, frozen=True, kw_only=True, tag_field="kind", tag="consumer"):
    """Somebody who calls through the gateway and is known by name. `groups`: whose rights he has."""

    name: str
    groups: tuple[str, ...] = ()
    api_keys: tuple[ApiKeyDigest, ...] = ()
    secrets: tuple[SharedSecret, ...] = ()


class PublicKey(Noun, frozen=True, kw_only=True):
    """A key by which tokens may be signed, in PEM. `id`: how they name it, None for one without a name."""

    id: str | None = None
    algorithm: Literal["RS256", "ES256"]
    pem: str


class KeySet(Noun, frozen=True, kw_only=True, tag_field="kind", tag="key-set"):
    """The public keys of who issues tokens; `name` is the address that they come from."""

    name: str
    keys: tuple[PublicKey, ...] = ()


class Certificate(Noun, frozen=True, kw_only=True, tag_field="kind", tag="certificate"):
    """What the gateway shows consumers that ask for one of `domains` over TLS, and where `default` is true those that
    ask for none that it knows. `chain` and `key` in PEM, the key as it is: a rotation is nothing for logs."""

    name: str
    domains: tuple[str, ...]
    chain: str
    key: str
    default: bool = False

    def __repr__(self) -> str:
        return f"Certificate({self.name!r}, {self.domains!r})"


class GrayRelease(Noun, frozen=True, kw_only=True, tag_field="kind", tag="gray"):
    """Which requests of a service go to its endpoints of one version: those that come with its mark, and those that the
    rules say. `normal`: the version that gets the others; None: every other one. `share`: of `SHARES`. `only`: all go
    there, whatever the rules say."""

    service: str
    mark: str
    version: str
    normal: str | None = None
    share: int = 0
    rules: tuple[GrayRule, ...] = ()
    only: Side | None = None


Resource = Consumer | KeySet | Certificate | GrayRelease
"""All kinds; a gateway that does not know one leaves it alone."""


def resource_key(resource: Resource) -> str:
    """The place of a resource in the rotation."""
    match resource:
        case Consumer():
            return f"consumer/{resource.name}"
        case KeySet():
            return f"key-set/{resource.name}"
        case Certificate():
            return f"certificate/{resource.name}"
        case GrayRelease():
            return gray_key(resource.service)


def gray_key(service: str) -> str:
    return f"gray/{service}"
