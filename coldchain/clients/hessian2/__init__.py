"""Hessian 2.0, the serialization that Dubbo speaks: bytes in, values out, and back; no I/O.

What lives here: an encoder and a decoder of one message, and the values that Python has no type of its own for.
What must not: anything of ours, or of Dubbo's frames. An object that comes in is data (`JavaObject`), never code.
Values are `None`, `bool`, `int`, `float`, `str`, `bytes`, aware `datetime`, `list`, `dict`, and those of `values`.
"""

from coldchain.clients.hessian2.decoder import Decoder, decode
from coldchain.clients.hessian2.encoder import Encoder, encode
from coldchain.clients.hessian2.message import Limits
from coldchain.clients.hessian2.values import HessianError, JavaObject, Key, Long, TypedList, TypedMap

__all__ = [
    "Decoder",
    "Encoder",
    "HessianError",
    "JavaObject",
    "Key",
    "Limits",
    "Long",
    "TypedList",
    "TypedMap",
    "decode",
    "encode",
]
