"""The key-encrypting key: its file, who may read it, and what it wraps."""

import os
from pathlib import Path

import pytest

from ehc.crypto.wrapping import KekError, KeyEncryptingKey

DIGITS = "0123456789abcdef" * 4


def written(folder: Path, content: str, mode: int = 0o600) -> Path:
    """A key file with this content and mode."""
    path = folder / "kek"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("demo", [False, True])
def test_a_made_file_holds_a_key_for_its_owner_alone(tmp_path: Path, demo: bool) -> None:
    path = tmp_path / "a" / "b" / "kek"
    mask = os.umask(0)
    try:
        KeyEncryptingKey.make_file(path, demo=demo)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o600
    kek = KeyEncryptingKey.from_file(path)
    assert (kek.demo, len(kek.secret)) == (demo, 32)


def test_two_keys_are_never_equal(tmp_path: Path) -> None:
    for name in "ab":
        KeyEncryptingKey.make_file(tmp_path / name, demo=False)
    assert KeyEncryptingKey.from_file(tmp_path / "a").secret != KeyEncryptingKey.from_file(tmp_path / "b").secret


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "mine")
    with pytest.raises(FileExistsError):
        KeyEncryptingKey.make_file(path, demo=False)
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660, 0o770])
def test_a_file_closed_to_others_is_read(tmp_path: Path, mode: int) -> None:
    assert KeyEncryptingKey.from_file(written(tmp_path, f"ehc-kek-1:{DIGITS}\n", mode)).secret == bytes.fromhex(DIGITS)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o666, 0o777])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KekError, match="open to every user") as caught:
        KeyEncryptingKey.from_file(written(tmp_path, f"ehc-kek-1:{DIGITS}\n", mode))
    assert DIGITS not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        DIGITS,
        f"ehc-kek-1:{DIGITS[:-1]}",
        f"ehc-kek-1:{DIGITS}0",
        f"ehc-kek-1:{DIGITS.upper()}",
        f"ehc-kek-1:{DIGITS[:-1]}g",
        f"ehc-kek-2:{DIGITS}",
        f"ehc-kek-1: {DIGITS}",
        f"ehc-kek-1:{DIGITS}\nehc-kek-1:{DIGITS}",
        "密钥",
    ],
)
def test_what_is_not_a_key_is_refused_without_repeating_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(KekError) as caught:
        KeyEncryptingKey.from_file(written(tmp_path, content))
    assert DIGITS[:16] not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(KekError, match="cannot be read: FileNotFoundError"):
        KeyEncryptingKey.from_file(tmp_path / "nothing")
    with pytest.raises(KekError, match="cannot be read: IsADirectoryError"):
        KeyEncryptingKey.from_file(tmp_path)


def test_what_is_wrapped_opens_under_its_context() -> None:
    kek = KeyEncryptingKey(bytes(32), demo=False)
    assert kek.unwrap(kek.wrap(b"plain", "a:1"), "a:1") == b"plain"
    assert kek.wrap(b"plain", "a:1") != kek.wrap(b"plain", "a:1")


@pytest.mark.parametrize("case", ["key", "context", "altered", "cut", "empty"])
def test_nothing_else_opens_it(case: str) -> None:
    kek = KeyEncryptingKey(bytes(32), demo=False)
    wrapped = kek.wrap(b"plain", "a:1")
    reader = KeyEncryptingKey(bytes([1] * 32), demo=False) if case == "key" else kek
    context = "a:2" if case == "context" else "a:1"
    changed = {"altered": wrapped[:-1] + bytes([wrapped[-1] ^ 1]), "cut": wrapped[:10], "empty": b""}.get(case, wrapped)
    with pytest.raises(KekError, match="another key-encrypting key"):
        reader.unwrap(changed, context)


def test_a_key_does_not_print_itself() -> None:
    secret = bytes.fromhex(DIGITS)
    for told in (repr(KeyEncryptingKey(secret, demo=False)), str(KeyEncryptingKey(secret, demo=True))):
        assert DIGITS not in told
        assert repr(secret) not in told
