"""Signed codes: opening and making them, the block that names a card, and the keys that check."""

import time
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from ehc.codes.cti import CtiKey
from ehc.codes.minting import mint
from ehc.codes.signed import (
    DYNAMIC_SECONDS,
    MAX_DIGITS,
    STATIC_SECONDS,
    Claims,
    Malformed,
    UnknownFormat,
    encode,
    open_envelope,
)
from ehc.crypto.keys import ES256, BadSignature, KeyId, KeyRing, UnknownKey, VerifyKey
from ehc.crypto.signer import SoftwareSigner, check_pair
from tests.vectors import (
    CTI,
    CURRENT,
    DAY,
    NOON,
    REVOKED,
    Key,
    claims,
    digits,
    envelope,
    header,
    static_claims,
    to_be_signed,
)
from tests.vectors.static import LONGEST

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=30)
GOOD = Claims(NOON, NOON + 60, CTI)
GOOD_STATIC = Claims(NOON, NOON + 365 * DAY, CTI, static=True)
DOCUMENT = Path(__file__).parents[2] / "docs" / "code-format.md"


class TestKeySigner:
    """A test key as the service's signers are."""

    __test__ = False

    def __init__(self, key: Key) -> None:
        self._key = key

    @property
    def key_id(self) -> KeyId:
        return KeyId(self._key.kid)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


patiently = settings(deadline=None)  # other tests run beside these
seconds = st.integers(2**16, 2**32 - 1)
all_claims = st.builds(Claims, seconds, seconds, st.binary(min_size=16, max_size=16), st.booleans())


def test_a_code_that_we_make_has_the_documented_bytes() -> None:
    assert mint(GOOD, TestKeySigner(CURRENT)) == digits(envelope())


def test_a_static_code_that_we_make_has_the_documented_bytes() -> None:
    text = mint(GOOD_STATIC, TestKeySigner(CURRENT))
    body = envelope(payload=static_claims())
    assert text == digits(body)
    document = DOCUMENT.read_text(encoding="utf-8")
    assert f"\n{text}\n" in document
    assert f"\n{body.hex()}\n" in document


def test_claims_are_of_a_dynamic_code_unless_they_say_otherwise() -> None:
    assert not GOOD.static
    assert open_envelope(digits(envelope())).claims == GOOD
    assert open_envelope(digits(envelope(payload=static_claims()))).claims == GOOD_STATIC


def test_the_lives_of_the_kinds_are_those_of_the_document() -> None:
    assert (DYNAMIC_SECONDS, STATIC_SECONDS) == (60, LONGEST)


@given(all_claims)
@patiently
def test_a_code_opens_to_what_it_was_made_of(made_of: Claims) -> None:
    text = mint(made_of, TestKeySigner(CURRENT))
    code = open_envelope(text)
    assert (code.claims, code.key_id, code.algorithm) == (made_of, CURRENT.kid, ES256)
    assert len(text) == (298 if made_of.static else 283)
    VerifyKey(CURRENT.private.public_key(), SINCE).verify(code.signed, code.signature)


@pytest.mark.parametrize("payload", [claims(), static_claims()], ids=["dynamic", "static"])
def test_what_is_signed_is_the_sig_structure_over_the_bytes_as_received(payload: bytes) -> None:
    body = envelope(payload=payload)
    code = open_envelope(digits(body))
    assert code.signed == to_be_signed(header(), payload)
    assert code.signature == body[-64:]


def test_two_codes_of_the_same_claims_are_two_texts() -> None:
    signer = SoftwareSigner.generate()
    assert mint(GOOD, signer) != mint(GOOD, signer)


@pytest.mark.parametrize("sort", [(b"\x00", 0), (b"\x17", 23), (b"\x18\x18", 24), (b"\x19\x01\x00", 256)])
@pytest.mark.parametrize("negative", [False, True])
def test_an_algorithm_is_read_as_the_number_it_is(sort: tuple[bytes, int], negative: bool) -> None:
    item, number = sort
    alg = bytes([item[0] | 0x20]) + item[1:] if negative else item
    code = open_envelope(digits(envelope(protected=header(alg))))
    assert code.algorithm == (-1 - number if negative else number)


@pytest.mark.parametrize(
    "alg", [b"\x18\x17", b"\x38\x17", b"\x19\x00\xff", b"\x39\x00\xff", b"\x1a\x00\x00\xff\xff", b"\x1c"]
)
def test_an_algorithm_in_more_bytes_than_it_needs_is_malformed(alg: bytes) -> None:
    with pytest.raises(Malformed):
        open_envelope(digits(envelope(protected=header(alg))))


@pytest.mark.parametrize("start", ["691", " 691", "", "https://"])
def test_ten_megabytes_of_text_are_refused_at_once_and_without_memory(start: str) -> None:
    text = start + "1" * 10_000_000
    tracemalloc.start()
    began = time.perf_counter()
    try:
        with pytest.raises(Malformed):
            open_envelope(text)
        took, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4096
    assert took < 0.1


def test_the_longest_number_that_is_looked_at_is_refused_at_once() -> None:
    began = time.perf_counter()
    for _ in range(100):
        with pytest.raises(Malformed):
            open_envelope("691" + "9" * (MAX_DIGITS - 3))
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("text", ["", "6", "69", "EHC", "6 91", "٦٩١", "６９１", "\x00691"])
def test_text_that_does_not_start_with_691_is_of_another_kind(text: str) -> None:
    with pytest.raises(UnknownFormat):
        open_envelope(text)


def test_no_change_of_one_bit_makes_another_kind_of_a_code() -> None:
    for payload, static in (claims(), False), (static_claims(), True):
        body = int.from_bytes(envelope(payload=payload), "big")
        opened = 0
        for bit in range(body.bit_length()):
            try:
                code = open_envelope(encode((body ^ 1 << bit).to_bytes(122 if static else 116, "big")))
            except Malformed:
                continue
            opened += 1
            assert code.claims.static is static
        assert opened > 64 * 8  # bits of the signature are no matter of shape


@given(st.binary(max_size=400))
@patiently
def test_bytes_are_written_as_digits_that_give_them_back(body: bytes) -> None:
    text = encode(body)
    number = int(text.removeprefix("691"))
    assert text.isascii()
    assert text.isdigit()
    assert number.to_bytes(len(body) + 1, "big") == b"\x01" + body


def test_a_cti_is_one_block_of_serial_and_chance() -> None:
    key = bytes(range(16))
    cti = CtiKey(key).make(0x0102030405060708)
    plain = Cipher(algorithms.AES128(key), modes.ECB()).decryptor().update(cti)  # one block
    assert len(cti) == 16
    assert plain[:8] == bytes(range(1, 9))


@given(st.integers(0, 2**63 - 1))
@patiently
def test_a_cti_gives_its_serial_back_to_the_holder_of_the_key(serial: int) -> None:
    key = CtiKey(b"k" * 16)
    assert key.serial(key.make(serial)) == serial


def test_a_cti_tells_nothing_under_another_key() -> None:
    assert CtiKey(b"a" * 16).serial(CtiKey(b"b" * 16).make(7)) != 7


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_cti_of_another_length_is_refused_and_spoils_nothing(length: int) -> None:
    key = CtiKey(b"k" * 16)
    with pytest.raises(ValueError, match="16 bytes"):
        key.serial(bytes(length))
    assert key.serial(key.make(7)) == 7


@pytest.mark.parametrize("serial", [-1, 2**64])
def test_a_serial_that_does_not_fit_is_never_cut_to_fit(serial: int) -> None:
    with pytest.raises(OverflowError):
        CtiKey(b"k" * 16).make(serial)


def test_codes_of_one_card_have_nothing_in_common() -> None:
    key = CtiKey(b"k" * 16)
    blocks = [key.make(7) for _ in range(10_000)]
    assert len(set(blocks)) == len(blocks)
    for place in range(16):  # 39 of each byte value are expected; no byte is tied to the card
        assert max(Counter(block[place] for block in blocks).values()) < 100


def test_sixty_four_threads_can_share_a_cti_key() -> None:
    key = CtiKey(b"k" * 16)

    def hammer(thread: int) -> list[bytes]:
        serials = range(thread * 1000, thread * 1000 + 300)
        blocks = [key.make(serial) for serial in serials]
        assert [key.serial(block) for block in blocks] == list(serials)
        return blocks

    with ThreadPoolExecutor(64) as pool:
        blocks = [block for made in pool.map(hammer, range(64)) for block in made]
    assert len(set(blocks)) == 64 * 300


def moment(date: datetime, seconds: int) -> int:
    return int(date.timestamp()) + seconds


@pytest.mark.parametrize(
    ("issued_at", "covered"),
    [
        (moment(SINCE, -6), False),
        (moment(SINCE, -5), True),
        (moment(SINCE, 0), True),
        (moment(UNTIL, 0), True),
        (moment(UNTIL, 5), True),
        (moment(UNTIL, 6), False),
    ],
)
def test_a_key_covers_its_time_give_or_take_the_skew(issued_at: int, covered: bool) -> None:
    public = CURRENT.private.public_key()
    assert VerifyKey(public, SINCE, UNTIL).covers(issued_at, skew=5) is covered
    assert not VerifyKey(public, SINCE, UNTIL, revoked=True).covers(issued_at, skew=5)


@pytest.mark.parametrize(("skew", "issued_at"), [(0, 0), (0, 1), (5, -4), (5, -5)])
def test_dates_of_keys_count_parts_of_a_second(skew: int, issued_at: int) -> None:
    half_past = SINCE + timedelta(seconds=0.5)
    covered = issued_at >= 0.5 - skew
    assert VerifyKey(CURRENT.private.public_key(), half_past).covers(moment(SINCE, issued_at), skew=skew) is covered


def test_a_key_without_an_end_covers_the_last_second_there_is() -> None:
    assert VerifyKey(CURRENT.private.public_key(), SINCE).covers(2**32 - 1, skew=0)


@pytest.mark.parametrize("algorithm", [-8, -9, -35, -36, -47, 0, 5, 7])
def test_a_key_answers_to_its_own_algorithm_only(algorithm: int) -> None:
    ring = KeyRing([VerifyKey(CURRENT.private.public_key(), SINCE)])
    assert ring.key_for(KeyId(CURRENT.kid), algorithm=ES256, issued_at=NOON, skew=5).id == CURRENT.kid
    with pytest.raises(UnknownKey):
        ring.key_for(KeyId(CURRENT.kid), algorithm=algorithm, issued_at=NOON, skew=5)


def test_a_ring_knows_its_keys_and_no_other() -> None:
    ring = KeyRing([VerifyKey(CURRENT.private.public_key(), SINCE)])
    assert KeyId(CURRENT.kid) in ring
    assert KeyId(REVOKED.kid) not in ring
    assert [key.id for key in ring] == [CURRENT.kid]


@pytest.mark.parametrize("length", [0, 63, 65, 72])
def test_a_signature_of_another_length_is_bad(length: int) -> None:
    with pytest.raises(BadSignature):
        VerifyKey(CURRENT.private.public_key(), SINCE).verify(b"data", bytes(length))


def test_a_signature_has_one_form_without_filling() -> None:
    signature = CURRENT.sign(b"data")
    key = VerifyKey(CURRENT.private.public_key(), SINCE)
    key.verify(b"data", signature)
    with pytest.raises(BadSignature):
        key.verify(b"data", signature[:32] + b"\x00" + signature[32:])


def test_a_signer_that_does_not_match_the_published_key_is_refused() -> None:
    signer = SoftwareSigner(CURRENT.private)
    check_pair(signer, VerifyKey(CURRENT.private.public_key(), SINCE))
    with pytest.raises(BadSignature):
        check_pair(signer, VerifyKey(REVOKED.private.public_key(), SINCE))
