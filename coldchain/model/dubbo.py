"""dubbo: what providers and consumers of Dubbo say of themselves in ZooKeeper, and what operators say of them there."""

from typing import Literal

from coldchain.model.base import Noun

WEIGHT = 100
"""Of a provider that names none."""
WARMUP_SECONDS = 600.0
"""How long a provider that names no time is given less than its weight."""
ANYWHERE = "0.0.0.0"  # noqa: S104 -- Dubbo's word for every host
ANY = "*"


class DubboUrl(Noun, frozen=True, kw_only=True):
    """How Dubbo writes everything: PROTOCOL://[NAME[:PASSWORD]@]HOST[:PORT]/PATH?PARAMETERS. Port 0: none."""

    protocol: str
    host: str
    port: int = 0
    path: str = ""
    username: str = ""
    password: str = ""
    parameters: dict[str, str] = {}

    @property
    def interface(self) -> str:
        return self.parameters.get("interface") or self.path


class Export(Noun, frozen=True, kw_only=True):
    """What a provider provides: an interface, and by which group and version it is told from others of that name."""

    interface: str
    group: str = ""
    version: str = ""

    def __str__(self) -> str:
        group = f"{self.group}/" if self.group else ""
        return f"{group}{self.interface}{':' if self.version else ''}{self.version}"


class Provider(Noun, frozen=True, kw_only=True):
    """One process that provides an interface. `parameters`: all that it says, with what operators have put over it."""

    interface: str
    host: str
    port: int
    protocol: str = "dubbo"
    parameters: dict[str, str] = {}

    @property
    def address(self) -> str:
        """HOST:PORT, as Dubbo writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def export(self) -> Export:
        return Export(interface=self.interface, group=self.group, version=self.version)

    @property
    def group(self) -> str:
        return self.parameters.get("group", "")

    @property
    def version(self) -> str:
        return said_version(self.parameters.get("version", ""))

    @property
    def application(self) -> str:
        return self.parameters.get("application", "")

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(filter(None, self.parameters.get("methods", "").split(",")))

    @property
    def weight(self) -> int:
        return self.weight_of("")

    def weight_of(self, method: str) -> int:
        """Of one of its methods, where that has a weight of its own."""
        own = self.parameters.get(f"{method}.weight") if method else None
        return max(0, _number(own or self.parameters.get("weight") or self.parameters.get("default.weight"), WEIGHT))

    @property
    def started_at(self) -> float:
        """Seconds since the epoch; 0 where it does not say."""
        return _number(self.parameters.get("timestamp"), 0) / 1000

    @property
    def warmup_seconds(self) -> float:
        said = self.parameters.get("warmup") or self.parameters.get("default.warmup")
        return max(0.0, _number(said, round(WARMUP_SECONDS * 1000)) / 1000)

    @property
    def enabled(self) -> bool:
        if "disabled" in self.parameters:
            return self.parameters["disabled"] != "true"
        return self.parameters.get("enabled", "true") == "true"


class Process(Noun, frozen=True, kw_only=True):
    """A provider's process as it announces itself as a whole (Dubbo 2.7.5 and later). What it provides stands in the
    metadata of its `application` and `revision`. `ports`: by protocol."""

    application: str
    host: str
    ports: dict[str, int]
    revision: str = ""


class Provided(Noun, frozen=True, kw_only=True):
    """An interface in the metadata of an application. Port 0: that of the process for the protocol."""

    interface: str
    protocol: str = "dubbo"
    port: int = 0
    parameters: dict[str, str] = {}


class Consumer(Noun, frozen=True, kw_only=True):
    """Who calls. `parameters`: what rules may ask of it beside host, application and method."""

    host: str
    application: str = ""
    parameters: dict[str, str] = {}


class Configurator(Noun, frozen=True, kw_only=True):
    """What an operator puts over what providers say of themselves.

    `host` and `port`: of one provider; without a port `host` is a consumer's. `addresses`: the providers that are
    meant, all where there are none. `conditions`: what must be so of the provider for it to hold. `absent`: only what
    the provider does not say is set. `side`: who it is for, everybody where it does not say.
    """

    export: Export
    host: str = ANYWHERE
    port: int = 0
    application: str = ANY
    addresses: tuple[str, ...] = ()
    conditions: dict[str, str] = {}
    parameters: dict[str, str] = {}
    absent: bool = False
    enabled: bool = True
    priority: int = 0
    side: Literal["", "consumer", "provider"] = ""


class Match(Noun, frozen=True, kw_only=True):
    """What is asked of one thing that a consumer, a call or a provider says: one of `matches`, none of `mismatches`."""

    key: str
    matches: tuple[str, ...] = ()
    mismatches: tuple[str, ...] = ()


class RouterRule(Noun, frozen=True, kw_only=True):
    """Consumers and calls that match all of `when` get the providers that match all of `then`; None: they get none.
    `force`: where that leaves nobody they get nobody, instead of all."""

    when: tuple[Match, ...] = ()
    then: tuple[Match, ...] | None = None
    force: bool = False
    priority: int = 0
    name: str = ""


class Announcement(Noun, frozen=True, kw_only=True):
    """That a provider provides something, as it stands in ZooKeeper. `started`: what it says of when it started, so
    that its successor at the same address is told from it. `process`: the application that its process announces as a
    whole, and this with it; empty where this is announced by itself."""

    export: Export
    host: str
    port: int
    started: str = ""
    process: str = ""

    @property
    def place(self) -> tuple[str, int]:
        return self.host, self.port


class Announced(Noun, frozen=True, kw_only=True):
    """All that is announced below one root of ZooKeeper, and what of it we have switched off, in no order."""

    providers: tuple[Announcement, ...] = ()
    switched_off: tuple[Announcement, ...] = ()


def said_version(text: str) -> str:
    """Dubbo's version 0.0.0 is none."""
    return "" if text == "0.0.0" else text


def _number(text: str | None, otherwise: int) -> int:
    """What others wrote is not always one."""
    try:
        return int(text) if text else otherwise
    except ValueError:
        return otherwise
