"""Steps 1 to 4 of a check, against the vectors and around them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ehc.codes.signed import Claims, encode
from ehc.crypto.keys import KeyId, KeyRing
from ehc.keystore.publish import jwk_set
from ehc.keystore.refreshed import Refreshed
from ehc.verify.reasons import Reason
from ehc.verify.service import Refused, check_code
from tests.fuzz.properties import CODES, DOCUMENT, JWKS, RING, documented_verifier, verify_key
from tests.vectors import CODES as CODES_FILE
from tests.vectors import CTI, CURRENT, NEXT, NOON, STRANGER, Vector, build, claims, clock_of, digits, envelope

AT_NOON = datetime.fromtimestamp(NOON, UTC)
GOOD = digits(envelope())

every_vector = pytest.mark.parametrize("vector", CODES["vectors"], ids=lambda vector: vector["name"])


def end_of(text: str, now: datetime = AT_NOON, ring: KeyRing = RING) -> str:
    try:
        check_code(text, Refreshed(lambda: ring), now=now)
    except Refused as refused:
        return refused.reason
    return "valid"


def single_digit_changes(text: str) -> Iterator[str]:
    for place, digit in enumerate(text):
        yield from (text[:place] + other + text[place + 1 :] for other in "0123456789" if other != digit)


@every_vector
def test_vector_ends_as_it_says(vector: Vector) -> None:
    assert end_of(vector["text"], clock_of(vector)) == vector["expect"]


@every_vector
def test_the_verifier_printed_in_the_document_agrees(vector: Vector) -> None:
    check = documented_verifier()
    assert check(vector["text"], JWKS, clock_of(vector).timestamp()) == vector["expect"]


def test_the_file_of_vectors_is_up_to_date() -> None:
    assert CODES_FILE.read_text(encoding="utf-8") == build.build(), "run `make vectors` and read the difference"


def test_every_reason_of_the_first_four_steps_has_two_vectors_at_least() -> None:
    ends = [vector["expect"] for vector in CODES["vectors"]]
    offline = {"valid", "malformed", "unknown-format", "unknown-key", "bad-signature", "not-yet-valid", "expired"}
    assert set(ends) == offline
    assert all(ends.count(end) >= 2 for end in offline)


def test_vectors_have_names_of_their_own() -> None:
    names = [vector["name"] for vector in CODES["vectors"]]
    assert len(names) == len(set(names))


def test_the_service_publishes_keys_as_the_vectors_and_the_document_show_them() -> None:
    assert jwk_set(verify_key(key) for key in CODES["keys"])["keys"] == [key["jwk"] for key in CODES["keys"]]


def test_the_example_of_the_document_is_the_first_vector() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert CODES["vectors"][0]["text"] == GOOD
    assert f"\n{GOOD}\n" in document
    assert f"\n{envelope().hex()}\n" in document


def test_a_good_code_gives_its_claims_and_key() -> None:
    wanted = Claims(NOON, NOON + 60, CTI), KeyId(CURRENT.kid)
    assert check_code(GOOD, Refreshed(lambda: RING), now=AT_NOON) == wanted


def test_no_change_of_one_digit_is_accepted() -> None:
    refused = {"malformed", "unknown-format", "unknown-key", "bad-signature"}
    ends = [end_of(text) for text in single_digit_changes(GOOD)]
    assert len(ends) == 283 * 9
    assert set(ends) <= refused


def test_no_swap_of_neighbouring_digits_is_accepted() -> None:
    for place in range(len(GOOD) - 1):
        swapped = GOOD[:place] + GOOD[place + 1] + GOOD[place] + GOOD[place + 2 :]
        assert (end_of(swapped) == "valid") == (swapped == GOOD)


def test_a_code_cut_at_any_length_is_refused() -> None:
    for length in range(len(GOOD)):
        wanted = "unknown-format" if length < 3 else "malformed"
        assert end_of(GOOD[:length]) == wanted
        assert end_of(GOOD[length + 1 :]) != "valid"


def test_no_change_of_one_bit_is_accepted() -> None:
    body = envelope()
    for bit in range(len(body) * 8):
        assert end_of(encode(build.flip(body, bit))) in {"malformed", "unknown-key", "bad-signature"}


@pytest.mark.parametrize(
    ("code", "now"),
    [
        (digits(envelope(payload=claims(life=61))), NOON),
        (GOOD, NOON + 66),
        (GOOD, NOON - 6),
    ],
    ids=["life", "expired", "early"],
)
def test_a_refusal_after_a_good_signature_tells_the_claims_for_the_record(code: str, now: int) -> None:
    with pytest.raises(Refused) as refused:
        check_code(code, Refreshed(lambda: RING), now=datetime.fromtimestamp(now, UTC))
    assert refused.value.claims is not None
    assert refused.value.claims.cti == CTI
    assert refused.value.key_id == CURRENT.kid


@pytest.mark.parametrize(
    ("code", "key_id"),
    [
        (digits(envelope(STRANGER)), STRANGER.kid),
        (encode(build.flip(envelope(), 0)), CURRENT.kid),
        ("691", None),
    ],
    ids=["unknown key", "bad signature", "malformed"],
)
def test_a_refusal_before_the_signature_is_found_good_tells_no_claims(code: str, key_id: bytes | None) -> None:
    with pytest.raises(Refused) as refused:
        check_code(code, Refreshed(lambda: RING), now=AT_NOON)
    assert refused.value.claims is None
    assert refused.value.key_id == key_id


class Keys:
    """Where rings come from; a key can appear later. Counts how often it is asked."""

    def __init__(self) -> None:
        self.names, self.loads, self.time = {"current"}, 0, 0.0
        self.rings = Refreshed(self.load, every=10.0, timer=lambda: self.time)

    def load(self) -> KeyRing:
        self.loads += 1
        return KeyRing(verify_key(key) for key in CODES["keys"] if key["name"] in self.names)

    def end_of(self, code: str, now: int) -> str:
        try:
            check_code(code, self.rings, now=datetime.fromtimestamp(now, UTC))
        except Refused as refused:
            return refused.reason
        return "valid"


def test_a_key_made_a_moment_ago_is_looked_for_once_and_found() -> None:
    keys = Keys()
    code = digits(envelope(NEXT, payload=claims(iat=NEXT.nbf)))
    assert keys.end_of(GOOD, NOON) == "valid"
    keys.names, keys.time = {"current", "next"}, 2.0
    assert keys.end_of(code, NEXT.nbf) == "valid"
    assert keys.loads == 2


def test_strangers_with_unknown_keys_cause_one_reload_a_second_at_most() -> None:
    keys = Keys()
    code = digits(envelope(STRANGER))
    for keys.time in (0.0, 0.5, 0.99, 1.0, 1.5, 1.99):
        assert keys.end_of(code, NOON) == Reason.UNKNOWN_KEY
    assert keys.loads == 2


def test_neither_good_codes_nor_texts_of_other_kinds_cause_a_reload() -> None:
    keys = Keys()
    for keys.time in range(9):
        assert keys.end_of(GOOD, NOON) == "valid"
        assert keys.end_of("https://example.org", NOON) == Reason.UNKNOWN_FORMAT
    assert keys.loads == 1
