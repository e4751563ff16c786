"""libmesos through ctypes: its C++ objects as memory that we lay out, its functions by their mangled names.

Runs in processes of its own that become a master or agents. Nothing is freed: the objects live as long as the process.
"""

import ctypes
import glob
import os
import signal
import struct
from collections.abc import Mapping
from ctypes import addressof, c_bool, c_char_p, c_int, c_void_p, create_string_buffer
from typing import Any

LIBRARY_VARIABLE, OPENSSL_VARIABLE = "COLDCHAIN_LAB_LIBMESOS", "COLDCHAIN_LAB_OPENSSL"
"""Where the process that becomes Mesos finds the edited library, and for TLS the OpenSSL it was linked against."""

STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
"""std::string in mangled names."""
OPTION_STRING = f"6OptionI{STRING}E"
_SHORT_STRING = 16
_kept: list[Any] = []
"""What C++ points to and Python must not collect."""


def _load() -> ctypes.CDLL:
    """By dlopen itself: ctypes adds RTLD_NOW, which fails, for the symbols of Python 2 are missing."""
    if openssl := os.environ.get(OPENSSL_VARIABLE):
        ctypes.CDLL("libcurl.so.4")  # before, so that it is bound to the OpenSSL of the machine
        for name in ("libcrypto", "libssl"):
            ctypes.CDLL(glob.glob(f"{openssl}/{name}-*")[0], mode=ctypes.RTLD_GLOBAL)
    libc = ctypes.CDLL(None)
    libc.dlopen.restype, libc.dlopen.argtypes = c_void_p, [c_char_p, c_int]
    libc.dlerror.restype = c_char_p
    handle = libc.dlopen(os.environ[LIBRARY_VARIABLE].encode(), os.RTLD_LAZY | os.RTLD_GLOBAL)
    if not handle:
        raise OSError((libc.dlerror() or b"").decode())
    return ctypes.CDLL(None, handle=handle)


library = _load()


def call(name: str, *arguments: Any, result: Any = None) -> Any:
    """A function or constructor. Numbers are addresses, True and False are bools, the rest is ctypes' own."""
    function = getattr(library, name)
    function.restype = result
    return function(*(_argument(argument) for argument in arguments))


def _argument(argument: Any) -> Any:
    if isinstance(argument, bool):
        return c_bool(argument)
    return c_void_p(argument) if argument is None or isinstance(argument, int) else argument


def room(size: int = 65536) -> int:
    """The address of so much zeroed memory, more than any object of that kind needs."""
    buffer = create_string_buffer(size)
    _kept.append(buffer)
    return addressof(buffer)


def read(address: int, form: str = "Q") -> int:
    (value,) = struct.unpack(form, ctypes.string_at(address, struct.calcsize(form)))
    return int(value)


def write(address: int, content: bytes) -> None:
    ctypes.memmove(address, content, len(content))


def string(text: str, place: int | None = None) -> int:
    """A std::string: address, length, and up to 15 characters inside the object itself."""
    content = text.encode()
    place = place or room(32)
    if len(content) < _SHORT_STRING:
        write(place, struct.pack("<QQ16s", place + 16, len(content), content))
    else:
        buffer = create_string_buffer(content)
        _kept.append(buffer)
        write(place, struct.pack("<QQQQ", addressof(buffer), len(content), len(content), 0))
    return place


def text_of(place: int) -> str:
    return ctypes.string_at(read(place), read(place + 8)).decode()


def nothing(size: int = 256) -> int:
    """An Option without a value: its state 1, and what would be the value eight bytes on."""
    place = room(size)
    write(place, struct.pack("<i", 1))
    return place


def some_string(text: str) -> int:
    place = room(64)
    string(text, place + 8)
    return place


def some_duration(seconds: float) -> int:
    place = room(16)
    write(place + 8, struct.pack("<q", int(seconds * 1e9)))
    return place


def duration(seconds: float) -> int:
    return some_duration(seconds) + 8


def made(name: str, *arguments: Any) -> int:
    """What a factory makes: a Try of a pointer, that is an Option of it, and an Option of an error sixteen bytes on."""
    result = room(256)
    call(name, result, *arguments)
    if read(result, "i") != 0:
        raise RuntimeError(text_of(result + 24))
    return read(result + 8)


def load_flags(flags: int, values: Mapping[str, str]) -> None:
    """From MESOS_… in the environment, and from `values`, which count more."""
    words = [b"mesos", *(f"--{name}={value}".encode() for name, value in values.items())]
    array = (c_char_p * (len(words) + 1))(*words, None)
    result = room(128)
    name = f"_ZN5flags9FlagsBase4loadERK{OPTION_STRING}iPKPKcbb"
    call(name, result, _flags_base(flags), some_string("MESOS_"), c_int(len(words)), array, False, False)
    if read(result, "i") != 0:
        raise RuntimeError(text_of(result + 40))


def _flags_base(flags: int) -> int:
    """The part that all flags share stands behind all others: it is the base that logging's flags have as well."""
    table = read(flags)
    offsets = [read(table - 24, "q"), read(table - 32, "q")]
    for offset in offsets:
        if 0 < offset < 65536:
            further = offset + read(read(flags + offset) - 24, "q")
            if further != offset and further in offsets:
                return flags + further
    raise RuntimeError(f"no base of flags at {offsets}")


def initialize(delegate: str) -> None:
    """libprocess; what is asked for without the name of an actor goes to `delegate`."""
    name = f"_ZN7process10initializeERK6OptionI{STRING}ES9_S9_"
    call(name, some_string(delegate), some_string("mesos-rw"), some_string("mesos-ro"), result=c_bool)
    version = room(4096)
    call("_ZN5mesos8internal14VersionProcessC1Ev", version)
    spawn(version)


def spawn(actor: int) -> int:
    """Start an actor; returns its address for `wait`."""
    base = actor + read(read(actor) - 24, "q")
    identity = room(256)
    call("_ZN7process5spawnEPNS_11ProcessBaseEb", identity, base, False)
    return identity


def wait(identity: int) -> None:
    """Until the actor has ended."""
    call("_ZN7process4waitERKNS_4UPIDERK8Duration", identity, duration(1e9), result=c_bool)


def files(authenticated: str) -> int:
    """What serves the files of masters and agents; one for each process."""
    place = room(8192)
    name = f"_ZN5mesos8internal5FilesC1ERK{OPTION_STRING}RKS2_IPNS_10AuthorizerEE"
    call(name, place, some_string(authenticated), nothing())
    return place


def detector(master: str, session_seconds: float) -> int:
    """Finds the leading master: by `zk://…`, or it is the one at `HOST:PORT`."""
    name = f"_ZN5mesos6master8detector14MasterDetector6createERK{OPTION_STRING}SC_RKS3_I8DurationE"
    return made(name, some_string(master), nothing(), some_duration(session_seconds))


def sleep_for_ever() -> None:
    """What a process does whose actors never end."""
    while True:
        signal.pause()
