"""KeyFileCipher: port Cipher with keys in a file that only its owner can read, a line `ID BASE64` for each, the present
one first."""

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from coldchain.model.errors import Rejected

KEY_BITS = 256
NONCE_BYTES = 12


class KeyFileCipher:
    """AES-256-GCM. The name of a secret is bound to its value, so that two of them cannot be exchanged in the store."""

    def __init__(self, path: Path) -> None:
        """Reads the file, and makes it with a first key where there is none. Raises Rejected. Blocks."""
        self._path = path
        self._keys: dict[str, bytes] = {}
        if path.exists():
            self._read()
        else:
            self.add_key()

    @property
    def key_id(self) -> str:
        return next(iter(self._keys))

    def seal(self, name: str, value: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self._keys[self.key_id]).encrypt(nonce, value.encode(), name.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, name: str, key_id: str, sealed: str) -> str:
        key = self._keys.get(key_id)
        if key is None:
            raise Rejected(
                f"secret {name} cannot be read: {self._path} has no key {key_id}",
                todo="Put the file of keys back that belongs to this store, or set the secret again.",
            )
        try:
            whole = base64.b64decode(sealed, validate=True)
            return AESGCM(key).decrypt(whole[:NONCE_BYTES], whole[NONCE_BYTES:], name.encode()).decode()
        except (InvalidTag, ValueError) as error:
            todo = "Set the secret again."
            raise Rejected(f"secret {name} cannot be read: it is not what was stored", todo=todo) from error

    def add_key(self) -> None:
        fresh = {secrets.token_hex(4): AESGCM.generate_key(KEY_BITS)}
        self._write(fresh | self._keys)

    def retire(self) -> None:
        self._write({self.key_id: self._keys[self.key_id]})

    def _read(self) -> None:
        try:
            found = self._path.stat()
            text = self._path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise Rejected(f"the keys of secrets cannot be read: {self._path}: {error}", todo="Put it back.") from error
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Rejected(f"others can read the keys of secrets in {self._path}", todo=f"`chmod 600 {self._path}`.")
        try:
            pairs = [line.split() for line in text.splitlines() if line.strip()]
            self._keys = {name: base64.b64decode(key, validate=True) for name, key in pairs}
        except (ValueError, binascii.Error):
            self._keys = {}
        if not self._keys or any(len(key) * 8 != KEY_BITS for key in self._keys.values()):
            raise Rejected(f"{self._path} is not a file of keys", todo="Put it back from where it was saved.")

    def _write(self, keys: dict[str, bytes]) -> None:
        """Whole or not at all, and on disk before anything is sealed by it."""
        lines = [f"{name} {base64.b64encode(key).decode()}\n" for name, key in keys.items()]
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            todo = "Run as root, make room, or name another file with --secret-keys."
            raise Rejected(
                f"the keys of secrets cannot be written: {self._path}: {error.strerror}", todo=todo
            ) from error
        self._keys = keys
