"""SM3 and SM4 against the standards' own answers."""

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given
from hypothesis import strategies as st

from ehc.crypto import sm

SAMPLE = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")


def test_sm3_gives_the_standards_answers() -> None:
    assert sm.sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert sm.sm3(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


def test_sm4_gives_the_standards_answers() -> None:
    assert sm.sm4_ecb_encrypt(SAMPLE, SAMPLE).hex() == "681edf34d206965e86b3e94f536e4246"
    assert sm.sm4_ecb_decrypt(SAMPLE, bytes.fromhex("681edf34d206965e86b3e94f536e4246")) == SAMPLE


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 4).flatmap(lambda n: st.binary(min_size=16 * n, max_size=16 * n)),
)
def test_decryption_undoes_encryption(key: bytes, data: bytes) -> None:
    encrypted = sm.sm4_ecb_encrypt(key, data)
    assert len(encrypted) == len(data)
    assert sm.sm4_ecb_decrypt(key, encrypted) == data


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    for act in (sm.sm4_ecb_encrypt, sm.sm4_ecb_decrypt):
        with pytest.raises(ValueError, match="key has 16 bytes"):
            act(bytes(size), SAMPLE)


@pytest.mark.parametrize("size", [1, 15, 17, 31])
def test_a_part_of_a_block_is_refused(size: int) -> None:
    for act in (sm.sm4_ecb_encrypt, sm.sm4_ecb_decrypt):
        with pytest.raises(ValueError, match="whole 16-byte blocks"):
            act(SAMPLE, bytes(size))


def test_the_self_test_passes_here() -> None:
    sm.self_test()


def test_the_self_test_names_a_missing_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_data: bytes) -> bytes:
        raise UnsupportedAlgorithm("sm3")

    monkeypatch.setattr(sm, "sm3", missing)
    with pytest.raises(RuntimeError, match="no SM3 or SM4"):
        sm.self_test()


def wrong(*_: bytes) -> bytes:
    return bytes(16)


@pytest.mark.parametrize("primitive", ["sm3", "sm4_ecb_encrypt", "sm4_ecb_decrypt"])
def test_the_self_test_finds_a_wrong_answer(monkeypatch: pytest.MonkeyPatch, primitive: str) -> None:
    monkeypatch.setattr(sm, primitive, wrong)
    with pytest.raises(RuntimeError, match="wrong answer"):
        sm.self_test()
