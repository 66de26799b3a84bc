"""The national derivation of an electronic health card (电子健康卡), byte by byte (national rules 1.2).

Person to index id (主索引ID) by SM3; index id to dispersion factor (分散因子) to user authentication key
(用户身份认证密钥); under that key, document type and number to card id (电子健康卡ID). A card id cannot be decrypted
without the index id, so a scan is a look-up, not a decryption. Both ids are personal data.

The caller brings the name through `ehc.core.names.normal_name` and the document through
`ehc.core.documents.read_document`: every byte counts here.
"""

from datetime import UTC, datetime

from ehc.clock import CHINA_TIME
from ehc.core.documents import Document
from ehc.crypto.sm import sm3, sm4_ecb_decrypt, sm4_ecb_encrypt

# The specification's sample security and protection keys. They are public: key storage refuses them outside demos.
SAMPLE_KEYS = frozenset(
    {bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"), bytes.fromhex("11223344556677888877665544332211")}
)

JITTER_SECONDS = 15
"""How much later than its shortest life a code's validity may be written, so that it cannot be foreseen (measure B)."""
GRACE_SECONDS = 5
"""How long a code goes on beside the next one of its card: it may be before a scanner in that moment (measure F)."""

_CARD_BYTES = 32
_INDEX_BYTES = 32
_TIME_BYTES = 7
_TIME_FILL = bytes(9)


class NotAValidity(ValueError):
    """A decrypted block is not a time as the national rules write it."""


def index_id(document: Document, name: str) -> bytes:
    """The index id, 32 bytes: SM3 over type, number and name in UTF-8, nothing between them (national rules 1.2)."""
    return sm3(f"{document.type}{document.number}{name}".encode())


def dispersion_factor(index: bytes) -> bytes:
    """The 8-byte factor: the four 8-byte groups of an index id, xor-ed. Raises `ValueError` if not given 32 bytes."""
    if len(index) != _INDEX_BYTES:
        raise ValueError("an index id has 32 bytes")
    folded = 0
    for start in range(0, _INDEX_BYTES, 8):
        folded ^= int.from_bytes(index[start : start + 8], "big")
    return folded.to_bytes(8, "big")


def user_key(security_key: bytes, factor: bytes) -> bytes:
    """The user authentication key, 16 bytes: SM4 of the factor and its complement under the security key (安全密钥)."""
    return sm4_ecb_encrypt(security_key, factor + bytes(byte ^ 0xFF for byte in factor))


def card_plaintext(document: Document) -> bytes:
    """Type and number filled with zero bytes to 32, always 32: also when they fill 16 exactly (national rules 1.4).

    Raises `ValueError` when they are longer; `read_document` refuses such numbers.
    """
    plain = f"{document.type}{document.number}".encode()
    if len(plain) > _CARD_BYTES:
        raise ValueError("document type and number have more than 32 bytes")
    return plain.ljust(_CARD_BYTES, b"\x00")


def card_id(security_key: bytes, document: Document, index: bytes) -> bytes:
    """The card id, 32 bytes: the document under the key that the index id of its holder gives (national rules 1.2)."""
    key = user_key(security_key, dispersion_factor(index))
    return sm4_ecb_encrypt(key, card_plaintext(document))


def validity(protection_key: bytes, when: datetime) -> bytes:
    """The validity field (二维码有效性信息), 16 bytes: local time UTC+8 as 7 BCD bytes and nine zero bytes, under SM4.

    Parts of a second are dropped. Raises `ValueError` for a time without offset.
    """
    if when.tzinfo is None:
        raise ValueError("a time needs its offset")
    digits = f"{when.astimezone(CHINA_TIME).replace(tzinfo=None):%Y%m%d%H%M%S}".rjust(14, "0")
    return sm4_ecb_encrypt(protection_key, bytes.fromhex(digits) + _TIME_FILL)


def read_validity(protection_key: bytes, encrypted: bytes) -> datetime:
    """The instant in a 16-byte validity field, in UTC. Does not say whether it is past.

    Raises `NotAValidity` for another length, a fill that is not zero, a digit that is not BCD and a time that is not in
    the calendar (national rules 2, measure E).
    """
    if len(encrypted) != _TIME_BYTES + len(_TIME_FILL):
        raise NotAValidity("a validity field has 16 bytes")
    block = sm4_ecb_decrypt(protection_key, encrypted)
    digits = block[:_TIME_BYTES].hex()
    if block[_TIME_BYTES:] != _TIME_FILL or not digits.isdecimal():
        raise NotAValidity("a validity block is 14 BCD digits and nine zero bytes")
    parts = [int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))]
    try:
        year, month, day, hour, minute, second = parts
        return datetime(year, month, day, hour, minute, second, tzinfo=CHINA_TIME).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NotAValidity("a validity block holds a time that does not exist") from error


def hex_upper(value: bytes) -> str:
    """Bytes as the national texts show them: upper-case hexadecimal, so 64 digits for an index id or a card id."""
    return value.hex().upper()
