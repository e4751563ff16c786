"""door: callers with tokens before a served platform, for tests of who may do what."""

from typing import NamedTuple

from aiohttp import ClientSession
from msgspec.structs import replace

from coldchain.model.caller import Role
from coldchain.testing.served_platform import ServedPlatform

CALLERS: dict[str, tuple[Role, str]] = {
    "viewer": ("viewer", "/"),
    "viewer-shop": ("viewer", "/shop"),
    "viewer-other": ("viewer", "/shop-2"),
    "owner": ("owner", "/shop"),
    "owner-other": ("owner", "/shop-2"),
    "operator": ("operator", "/"),
    "admin": ("admin", "/"),
}
"""By name: role and group. The app of all cases is /shop/web, whose group another one's name begins with."""

WEB = {"id": "/shop/web", "container": {"docker": {"image": "web:v1"}}}


class Door(NamedTuple):
    """A platform with tokens for all callers."""

    platform: ServedPlatform
    headers: dict[str, dict[str, str]]

    def session(self, name: str) -> ClientSession:
        return ClientSession(self.platform.url, headers=self.headers[name])


async def opened(platform: ServedPlatform) -> Door:
    """Tokens for every caller, and headers of those whom nobody knows."""
    headers: dict[str, dict[str, str]] = {"nobody": {}, "stranger": bearer("cct_000000000000_" + "x" * 43)}
    callers = platform.controller.callers
    for name, (role, group) in reversed(CALLERS.items()):
        _token, text = await callers.create(name, role, group, None, "test")
        headers[name] = bearer(text)
    headers["expired"] = await expired(platform)
    _token, text = await callers.create("gone", "admin", "/", None, "test")
    await callers.revoke("gone", keep_admin=False)
    headers["revoked"] = bearer(text)
    return Door(platform, headers)


async def expired(platform: ServedPlatform) -> dict[str, str]:
    """A token whose time is over already."""
    token, text = await platform.controller.callers.create("late", "admin", "/", 50, "test")
    await platform.controller.state.commit([replace(token, expires_at=token.created_at - 1)])
    return bearer(text)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}
