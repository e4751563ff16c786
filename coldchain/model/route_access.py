"""route_access: who may use a route, by address and by who he shows to be."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.model.base import Noun

JwtAlgorithm = Literal["HS256", "RS256", "ES256"]

_Networks = Annotated[tuple[str, ...], Meta(max_length=1000)]
_Names = Annotated[tuple[str, ...], Meta(max_length=1000)]
_Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class AddressRules(Noun, frozen=True, kw_only=True):
    """From where requests may come, as networks such as 10.0.0.0/8 and 2001:db8::/32. What is in `deny` may not; where
    `allow` has any, only what is in it may."""

    allow: _Networks = ()
    deny: _Networks = ()


class ApiKeyPlace(Noun, frozen=True, kw_only=True):
    """Where requests carry an API key: in this header, or in this parameter of the query."""

    header: str | None = None
    query: str | None = None


class RequestSignature(Noun, frozen=True, kw_only=True):
    """Requests are signed by a shared secret (HMAC-SHA-256). `clock_skew_seconds`: how far the consumer's clock may be
    from the gateway's, and so for how long what was sent once is remembered. `body_bytes_max`: a longer body is
    refused, since it has to be read before the app sees any of it."""

    clock_skew_seconds: Annotated[int, Meta(ge=1, le=3600)] = 300
    body_bytes_max: Annotated[int, Meta(ge=0, le=64 * 1024 * 1024)] = 1024 * 1024


class JsonWebToken(Noun, frozen=True, kw_only=True):
    """Requests carry a token (JWT) of this algorithm. `keys`: the address of the set of public keys by which it may be
    signed; with HS256 none, for there the consumers' own secrets are. `issuer` and `audience`: what the token must say
    of itself, anything if not given. `consumer_claim`: where in it the consumer's name is; with HS256 it is the
    secret's. `headers`: further claims that the app gets, by the name of the header."""

    algorithm: JwtAlgorithm
    keys: _Text | None = None
    issuer: _Text | None = None
    audience: _Text | None = None
    leeway_seconds: Annotated[int, Meta(ge=0, le=600)] = 30
    consumer_claim: _Text = "sub"
    headers: Annotated[dict[str, _Text], Meta(max_length=32)] = {}


class Authentication(Noun, frozen=True, kw_only=True):
    """How consumers show who they are; one of several ways is enough. `consumers` and `groups`: who is let in then,
    everybody who is known if both are empty."""

    api_key: ApiKeyPlace | None = None
    signature: RequestSignature | None = None
    jwt: JsonWebToken | None = None
    consumers: _Names = ()
    groups: _Names = ()
