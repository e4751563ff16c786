"""Bodies of frames: a call and its result, as Hessian 2."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from coldchain.clients.dubbo.errors import DubboError, Refused, Unreadable
from coldchain.clients.dubbo.frame import Status
from coldchain.clients.dubbo.throwable import java_object, remote_exception
from coldchain.clients.dubbo.types import descriptor, inferred_types, types_in
from coldchain.clients.hessian2 import Decoder, Encoder, HessianError, encode

PROTOCOL = "2.0.2"
"""Of Dubbo 2.7 and 3: from this one on a consumer understands results with attachments."""
EXCEPTION, VALUE, NULL = 0, 1, 2
WITH_ATTACHMENTS = 3
"""Is added to the three kinds of result."""
READ_ONLY = "R"
"""An event: no new call shall come over this connection."""
UNHEARD = frozenset({Status.BAD_REQUEST, Status.SERVICE_NOT_FOUND, Status.EXHAUSTED})
UNHEARD_WORDS = ("Not found exported service", "not found service:")
"""A provider that has stopped serving an interface says so in words only, Java's and Node's."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a method. `types`: Java's names, where those that the values are likely to have are not meant.
    `path`: what the provider exports the interface as, if not by its name. `protocol`: the consumer's."""

    interface: str
    method: str
    arguments: Sequence[object] = ()
    types: Sequence[str] | None = None
    version: str = ""
    group: str = ""
    path: str = ""
    attachments: Mapping[str, object] = {}
    protocol: str = PROTOCOL

    @property
    def words(self) -> str:
        """Which method of which service this is, for errors."""
        group = f"{self.group}/" if self.group else ""
        version = f":{self.version}" if self.version else ""
        return f"{group}{self.interface}{version}#{self.method}"


class Result(msgspec.Struct, frozen=True):
    value: object = None
    attachments: Mapping[str, object] = {}


def encode_call(call: Call, timeout_seconds: float | None = None) -> bytes:
    """Raises HessianError, ValueError."""
    types = call.types if call.types is not None else inferred_types(call.arguments)
    if len(types) != len(call.arguments):
        raise ValueError(f"{len(call.arguments)} arguments for {len(types)} types")
    path = call.path or call.interface
    attachments: dict[object, object] = {"path": path, "interface": call.interface, "version": call.version}
    if call.group:
        attachments["group"] = call.group
    if timeout_seconds is not None:
        attachments["timeout"] = str(round(timeout_seconds * 1000))
    attachments.update(call.attachments)
    encoder = Encoder()
    for argument in call.arguments:
        encoder.write(argument)
    encoder.write(attachments)
    return _head(call.protocol, path, call.version, call.method, tuple(types)) + encoder.getvalue()


@lru_cache(maxsize=4096)
def _head(protocol: str, path: str, version: str, method: str, types: tuple[str, ...]) -> bytes:
    """What each call of a method begins with: texts, which nothing later in a message refers to."""
    return encode(protocol, path, version, method, descriptor(types))


def decode_call(body: bytes) -> Call:
    """Raises Unreadable."""
    try:
        decoder = Decoder(body)
        protocol, path, version, method, text = (_text(decoder) for _ in range(5))
        types = types_in(text)
        arguments = [decoder.read() for _ in types]
        attachments = {} if decoder.at_end else _attachments(decoder)
    except HessianError as error:
        raise Unreadable(f"this is no call: {error}", heard=False) from None
    interface = attachments.get("interface")
    group = attachments.get("group")
    return Call(
        interface=interface if isinstance(interface, str) and interface else path,
        method=method,
        arguments=arguments,
        types=types,
        version=version if version != "0.0.0" else "",
        group=group if isinstance(group, str) else "",
        path=path,
        attachments=attachments,
        protocol=protocol,
    )


def encode_result(outcome: Result | DubboError, protocol: str = PROTOCOL) -> bytes:
    """Of a value, or of an exception that the method raised. Raises HessianError."""
    encoder = Encoder()
    attachments: Mapping[str, object] = outcome.attachments if isinstance(outcome, Result) else {}
    told = bool(attachments) and takes_attachments(protocol)
    more = WITH_ATTACHMENTS if told else 0
    if not isinstance(outcome, Result):
        encoder.write(EXCEPTION + more)
        encoder.write(java_object(outcome))
    elif outcome.value is None:
        encoder.write(NULL + more)
    else:
        encoder.write(VALUE + more)
        encoder.write(outcome.value)
    if told:
        encoder.write(dict(attachments))
    return encoder.getvalue()


def decode_result(body: bytes) -> Result:
    """Raises RemoteException, which the method raised, and Unreadable."""
    try:
        decoder = Decoder(body)
        kind = decoder.read()
        if not kind and decoder.at_end:
            # Node's provider leaves the kind away before whatever JavaScript takes for false.
            return Result(kind)
        if isinstance(kind, bool) or not isinstance(kind, int) or not 0 <= kind <= NULL + WITH_ATTACHMENTS:
            raise Unreadable(f"no kind of result: {kind!r:.100}", heard=True)
        told = kind >= WITH_ATTACHMENTS
        value = decoder.read() if kind % WITH_ATTACHMENTS != NULL else None
        attachments = _attachments(decoder) if told else {}
    except HessianError as error:
        raise Unreadable(f"the answer is no result: {error}", heard=True) from None
    if kind % WITH_ATTACHMENTS == EXCEPTION:
        raise remote_exception(value)
    return Result(value, attachments)


def encode_words(words: str) -> bytes:
    """Of a status other than OK."""
    return encode(words)


def refusal(status: int, body: bytes) -> Refused:
    """What a status other than OK says."""
    try:
        words = Decoder(body).read()
    except HessianError:
        words = None
    name = Status(status).name if status in set(Status) else f"status {status}"
    text = words if isinstance(words, str) and words else "no word of why"
    unheard = status in UNHEARD or any(one in text for one in UNHEARD_WORDS)
    return Refused(status, f"{name}: {text}", heard=not unheard)


def takes_attachments(protocol: str) -> bool:
    """Whether a consumer of this protocol or, of the older ones, this version of Dubbo, understands a result with
    attachments: 2.0.2 to 2.0.9 are protocols; of 2.0.10 to 2.6.2, and of Dubbox (2.8), it is known that they do not."""
    numbers = [int(digits) for digits in protocol.split("-")[0].split(".")[:3] if digits.isascii() and digits.isdigit()]
    version = (*numbers, 0, 0, 0)[:3]
    if not numbers or version < (2, 0, 2):
        return False
    return not ((2, 0, 10) <= version <= (2, 6, 2) or (2, 8, 0) <= version < (2, 9, 0))


def _text(decoder: Decoder) -> str:
    value = decoder.read()
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"this is no call: a word was expected, not {value!r:.100}", heard=False)
    return value


def _attachments(decoder: Decoder) -> dict[str, object]:
    value = decoder.read()
    entries = getattr(value, "entries", value)
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        raise Unreadable(f"these are no attachments: {value!r:.100}", heard=True)
    return {key: one for key, one in entries.items() if isinstance(key, str)}
