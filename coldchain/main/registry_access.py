"""registry access: which registries there are, as `up` is told: the embedded one, and Consul by address."""

import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from coldchain.clients.host_port import host_port
from coldchain.model.errors import InvalidDocument, Problem

EMBEDDED = "127.0.0.1:8500"
SCHEMES = {"consul": "http", "consul+https": "https"}
OPTIONS = ("authority", "certificate", "key", "token", "agents", "leave")
FORM = "IP:PORT of the embedded registry, or consul://HOST:PORT, or consul+https://HOST:PORT"


@dataclass(frozen=True, kw_only=True)
class ConsulAccess:
    """How one Consul is reached: `consul[+https]://HOST:PORT[?OPTION=VALUE&…]`."""

    text: str
    """Its address without options, by which it is called."""

    scheme: str
    """http or https."""

    address: str
    """HOST:PORT."""

    authority: Path | None = None
    """Certificates of those who vouch for it. None: whom this machine trusts."""

    certificate: Path | None = None
    """Certificate that is shown to it, with those that vouch for it."""

    key: Path | None = None
    """The private key of the certificate. None: it is in the same file."""

    token: str = field(default="", repr=False)
    """Of its access control lists."""

    agents: int | None = None
    """Port of the Consul agent on each machine, where the machine's instances are registered. None: at this address."""

    leave: bool = False
    """Whether nothing of the platform is to be in it any more: what is there is taken away."""

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def context(self) -> ssl.SSLContext | None:
        """None without TLS. Raises InvalidDocument. Blocking."""
        if self.scheme == "http":
            return None
        try:
            context = ssl.create_default_context(cafile=None if self.authority is None else str(self.authority))
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise _invalid(f"{self.text}: its certificates cannot be read: {error}") from error
        return context


@dataclass(frozen=True, kw_only=True)
class RegistryAccess:
    """`embedded`: where the embedded registry listens, None where there is none. `consuls`: the others.
    `embedded_first`: what others registered is followed in it."""

    embedded: tuple[str, int] | None
    consuls: tuple[ConsulAccess, ...] = ()
    embedded_first: bool = True

    @property
    def with_agents(self) -> ConsulAccess | None:
        """The Consul that has an agent on every machine, perhaps: there can be one."""
        staying = [one for one in self.consuls if not one.leave]
        return staying[0] if len(staying) == 1 else None

    def of_agent(self, agent: str, said: str) -> str:
        """Where an app on an agent registers itself, as HOST:PORT. `said`: by the agent's own attribute."""
        if self.with_agents is not None and (said or self.with_agents.agents):
            return said or host_port(agent, self.with_agents.agents)
        if self.embedded is not None and (self.embedded_first or not self.consuls):
            return host_port(*self.embedded)
        return next(one for one in self.consuls if not one.leave).address


def registry_access(given: Sequence[str], token: str = "") -> RegistryAccess:
    """`token`: for each Consul that names no file of one. Raises InvalidDocument with every problem. Blocking: it reads
    tokens."""
    problems: list[str] = []
    embedded: list[tuple[str, int]] = []
    consuls: list[ConsulAccess] = []
    embedded_first = False
    for text in given:
        try:
            if "://" in text:
                consuls.append(_consul(text, token))
            else:
                embedded.append(listening(text))
                embedded_first = all(one.leave for one in consuls)
        except ValueError as error:
            problems.append(str(error))
    if len(embedded) > 1:
        problems.append("the embedded registry listens at one address")
    if len({one.address for one in consuls}) < len(consuls):
        problems.append("names one Consul twice")
    if sum(not one.leave for one in consuls) > 1 and any(one.agents for one in consuls):
        problems.append("with several Consuls `agents` cannot be used: which of them has an agent on the machine?")
    if given and not problems and not embedded and all(one.leave for one in consuls):
        problems.append("all of them are left: name one that is not")
    if problems:
        raise InvalidDocument([Problem(path="--registry", reason=reason) for reason in problems])
    return RegistryAccess(
        embedded=embedded[0] if embedded else None, consuls=tuple(consuls), embedded_first=embedded_first
    )


def listening(text: str) -> tuple[str, int]:
    """Where something is to listen. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = ""
    if not host or not _is_port(port):
        raise ValueError(f"{text!r} is not {FORM}")
    return host, int(port)


def _consul(text: str, token: str) -> ConsulAccess:
    parts = urlsplit(text)
    if "@" in parts.netloc:
        # Who writes a token there must not find it in a log.
        raise ValueError("a token belongs into a file: consul://HOST:PORT?token=FILE, or COLDCHAIN_CONSUL_TOKEN has it")
    host, _, port = parts.netloc.rpartition(":")
    address = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in SCHEMES or not host or not _is_port(port) or parts.path.strip("/") or parts.fragment:
        raise ValueError(f"{address!r} is not {FORM}")
    try:
        options = dict(parse_qsl(parts.query, strict_parsing=True) if parts.query else ())
    except ValueError:
        raise ValueError(f"{address}: its options are not NAME=VALUE with & between them") from None
    if reasons := [f"{address}: {reason}" for reason in _wrong(options, parts.scheme)]:
        raise ValueError("; ".join(reasons))
    if "token" in options:
        try:
            token = Path(options["token"]).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{address}: the file of its token cannot be read: {error}") from error
    paths = {name: Path(options[name]) for name in ("authority", "certificate", "key") if name in options}
    agents = int(options["agents"]) if "agents" in options else None
    scheme = SCHEMES[parts.scheme]
    leave = "leave" in options
    return ConsulAccess(
        text=address, scheme=scheme, address=parts.netloc, token=token, agents=agents, leave=leave, **paths
    )


def _wrong(options: dict[str, str], scheme: str) -> Iterator[str]:
    if unknown := sorted(options.keys() - set(OPTIONS)):
        yield f"knows {', '.join(OPTIONS)}, and not {', '.join(unknown)}"
    if scheme == "consul" and (secured := options.keys() & {"authority", "certificate", "key"}):
        yield f"{', '.join(sorted(secured))}: without TLS nobody looks at it; consul+https:// is with"
    if "key" in options and "certificate" not in options:
        yield "a key is of a certificate: give it as well"
    if options.get("leave", "yes") != "yes":
        yield "leave is yes, or left out"
    if "agents" in options and not _is_port(options["agents"]):
        yield "agents is the port of the Consul agents on the machines"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def _invalid(reason: str) -> InvalidDocument:
    return InvalidDocument([Problem(path="--registry", reason=reason)])
