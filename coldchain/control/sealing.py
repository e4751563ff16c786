"""sealing: the cipher by which what is secret is kept, where there is one."""

from coldchain.model.errors import Rejected
from coldchain.ports.cipher import Cipher


def known_cipher(cipher: Cipher | None) -> Cipher:
    """Raises Rejected where there is none."""
    if cipher is None:
        raise Rejected("this platform keeps no secrets", todo="Start it with a file of keys.")
    return cipher
