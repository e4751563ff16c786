"""What processes say of themselves below /services, and the metadata of their applications, in JSON."""

from typing import Any

import msgspec

from coldchain.model.dubbo import Process, Provided


class _Endpoint(msgspec.Struct):
    port: int
    protocol: str


class _Payload(msgspec.Struct):
    metadata: dict[str, Any] = {}


class _Instance(msgspec.Struct):
    """As Curator's discovery writes it."""

    name: str
    address: str
    port: int | None = None
    payload: _Payload | None = None
    enabled: bool = True


class _Service(msgspec.Struct):
    name: str
    protocol: str = "dubbo"
    port: int | None = None
    group: str | None = None
    version: str | None = None
    params: dict[str, Any] = {}


class _Metadata(msgspec.Struct):
    services: dict[str, _Service] = {}


def process(data: bytes) -> Process | None:
    """None for one that is switched off. Raises ValueError."""
    said = _read(data, _Instance)
    if not said.enabled or not said.address:
        return None
    metadata = said.payload.metadata if said.payload else {}
    ports = {"dubbo": said.port} if said.port else {}
    if endpoints := metadata.get("dubbo.endpoints"):
        ports = {one.protocol: one.port for one in _read(str(endpoints).encode(), list[_Endpoint])}
    revision = str(metadata.get("dubbo.metadata.revision") or metadata.get("dubbo.exported-services.revision") or "")
    return Process(application=said.name, host=said.address, ports=ports, revision=revision)


def metadata(data: bytes) -> tuple[Provided, ...]:
    """Of an application's revision. Raises ValueError."""
    found = []
    for one in _read(data, _Metadata).services.values():
        said = {"group": one.group, "version": one.version}
        parameters = {name: str(value) for name, value in one.params.items()}
        parameters |= {name: value for name, value in said.items() if value}
        found.append(Provided(interface=one.name, protocol=one.protocol, port=one.port or 0, parameters=parameters))
    return tuple(found)


def mapping(data: bytes) -> tuple[str, ...]:
    """The applications that provide an interface."""
    return tuple(sorted({name.strip() for name in data.decode(errors="replace").split(",")} - {""}))


def _read(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"{data[:100]!r} is not what it should be: {error}") from None
