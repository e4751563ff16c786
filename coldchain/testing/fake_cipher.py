"""A cipher that keeps its keys in memory and hides nothing from who looks closely."""

import base64

from coldchain.model.errors import Rejected


class FakeCipher:
    """Port Cipher."""

    def __init__(self) -> None:
        self._made = 0
        self._keys: list[str] = []
        self.add_key()

    @property
    def key_id(self) -> str:
        return self._keys[0]

    def seal(self, name: str, value: str) -> str:
        return base64.b64encode(f"{self.key_id} {name} {value}".encode()).decode()

    def open(self, name: str, key_id: str, sealed: str) -> str:
        if key_id not in self._keys:
            raise Rejected(f"secret {name} cannot be read: no key {key_id}")
        try:
            by, under, value = base64.b64decode(sealed, validate=True).decode().split(" ", 2)
        except ValueError:
            by = under = value = ""
        if (by, under) != (key_id, name):
            raise Rejected(f"secret {name} cannot be read: it is not what was stored")
        return value

    def add_key(self) -> None:
        self._made += 1
        self._keys.insert(0, f"key-{self._made}")

    def retire(self) -> None:
        del self._keys[1:]
