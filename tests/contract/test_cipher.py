"""What every cipher does."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from coldchain.model.errors import Rejected
from coldchain.ports.cipher import Cipher
from coldchain.store.cipher import KeyFileCipher
from coldchain.testing.fake_cipher import FakeCipher

Make = Callable[[Path], Cipher]


@pytest.fixture(params=[lambda path: FakeCipher(), KeyFileCipher], ids=["fake", "key file"])
def cipher(request: pytest.FixtureRequest, tmp_path: Path) -> Cipher:
    make: Make = request.param
    return make(tmp_path / "keys")


@pytest.mark.parametrize("value", ["!", "pass word\n", "密码" * 1000])
def test_what_is_sealed_opens_again_and_does_not_show(cipher: Cipher, value: str) -> None:
    sealed = cipher.seal("name", value)
    assert value not in sealed
    assert cipher.open("name", cipher.key_id, sealed) == value


def test_a_value_opens_only_under_its_name(cipher: Cipher) -> None:
    sealed = cipher.seal("one", "value")
    with pytest.raises(Rejected, match="not what was stored"):
        cipher.open("other", cipher.key_id, sealed)


@pytest.mark.parametrize("sealed", ["", "no base64!", base64.b64encode(b"short").decode()])
def test_what_is_damaged_is_refused(cipher: Cipher, sealed: str) -> None:
    with pytest.raises(Rejected, match="not what was stored"):
        cipher.open("name", cipher.key_id, sealed)


def test_old_keys_open_until_they_are_retired(cipher: Cipher) -> None:
    first, sealed = cipher.key_id, cipher.seal("name", "value")
    cipher.add_key()
    assert cipher.key_id != first
    assert cipher.open("name", first, sealed) == "value"
    cipher.retire()
    with pytest.raises(Rejected, match=f"no key {first}"):
        cipher.open("name", first, sealed)


def test_the_keys_are_on_disk_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    cipher = KeyFileCipher(path)
    sealed = cipher.seal("name", "value")
    cipher.add_key()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["keys"]
    again = KeyFileCipher(path)
    assert again.key_id == cipher.key_id
    assert len({one.split()[0] for one in path.read_text().splitlines()}) == 2
    first = path.read_text().splitlines()[1].split()[0]
    assert again.open("name", first, sealed) == "value"


@pytest.mark.parametrize("text", ["", "one two three\n", "id c2hvcnQ=\n", "id !\n"])
def test_a_file_that_is_none_of_keys_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Rejected, match="is not a file of keys"):
        KeyFileCipher(path)
    assert path.read_text() == text


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    KeyFileCipher(path)
    path.chmod(0o640)
    with pytest.raises(Rejected, match=r"others can read.*chmod 600"):
        KeyFileCipher(path)
