"""The national hash and block cipher: SM3 (GB/T 32905) and SM4 (GB/T 32907), from the OpenSSL under `cryptography`.

SM4 is offered in ECB mode only because the national card id and validity fields are defined that way (national rules
1.2). Data of our own are never encrypted with it.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK_BYTES = 16
KEY_BYTES = 16

# Known answers of the standards themselves: SM3 of "abc", and SM4 of the sample key under itself.
_SM3_ABC = bytes.fromhex("66C7F0F462EEEDD9D1F2D46BDC10E4E24167C4875CF2F7A2297DA02B8F4BA8E0")
_SM4_SAMPLE = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
_SM4_ANSWER = bytes.fromhex("681EDF34D206965E86B3E94F536E4246")


def sm3(data: bytes) -> bytes:
    """The SM3 digest of `data`, 32 bytes (GB/T 32905-2016)."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


def sm4_ecb_encrypt(key: bytes, data: bytes) -> bytes:
    """`data` encrypted block by block under a 16-byte key, same length, no padding (GB/T 32907-2016).

    Raises `ValueError` unless the data are whole 16-byte blocks and the key has 16 bytes.
    """
    _require_sizes(key, data)
    encryptor = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()  # noqa: S305  the national fields are ECB
    return encryptor.update(data) + encryptor.finalize()


def sm4_ecb_decrypt(key: bytes, data: bytes) -> bytes:
    """What `sm4_ecb_encrypt` was given. Cannot tell whether the key was right. Raises `ValueError` as it does."""
    _require_sizes(key, data)
    decryptor = Cipher(algorithms.SM4(key), modes.ECB()).decryptor()  # noqa: S305  the national fields are ECB
    return decryptor.update(data) + decryptor.finalize()


def self_test() -> None:
    """Returns when SM3 and SM4 are there and give the standards' answers; run it at start-up.

    Raises `RuntimeError` otherwise: some builds of OpenSSL leave the national algorithms out.
    """
    try:
        right = (
            sm3(b"abc") == _SM3_ABC
            and sm4_ecb_encrypt(_SM4_SAMPLE, _SM4_SAMPLE) == _SM4_ANSWER
            and sm4_ecb_decrypt(_SM4_SAMPLE, _SM4_ANSWER) == _SM4_SAMPLE
        )
    except UnsupportedAlgorithm as missing:
        raise RuntimeError(
            "this OpenSSL has no SM3 or SM4; install the cryptography wheel from PyPI, or build OpenSSL with both"
        ) from missing
    if not right:
        raise RuntimeError("SM3 or SM4 gave a wrong answer; do not run with this OpenSSL")


def _require_sizes(key: bytes, data: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError("an SM4 key has 16 bytes")
    if len(data) % BLOCK_BYTES:
        raise ValueError("SM4 in ECB mode takes whole 16-byte blocks")
