"""The properties that `make fuzz` tries for longer, tried by hypothesis."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ehc.codes.national_text import national_dynamic, national_static
from ehc.codes.signed import STATIC_SECONDS, encode
from ehc.codes.temporary_text import make_temporary
from ehc.codes.text import TextKind
from tests.fuzz.properties import examine, examine_bytes, examine_readers, examine_unsigned, seeds
from tests.vectors import CTI, NOON, STATIC, claims, digits, envelope, four, header, static_claims

GOOD = envelope()
GOOD_STATIC = envelope(payload=static_claims())
READABLE = "691 \t\r\n0123456789٣３²-+_.xE"

patiently = settings(deadline=None)  # other tests run beside these
more_patiently = settings(deadline=None, max_examples=400)

a_place = st.integers(0, len(GOOD_STATIC) - 1)
a_piece = st.binary(max_size=4)
times = st.integers(0, 2**32 - 1) | st.integers(NOON - 70, NOON + 70)


@given(st.text() | st.text(READABLE, max_size=1100) | st.text("0123456789", max_size=300).map("691".__add__))
@example("\ud800")
@example("691" + "\ud800")
@patiently
def test_no_text_does_more_than_be_refused(text: str) -> None:
    assert examine_unsigned(text) in {"malformed", "unknown-format"}


@given(st.binary(max_size=430))
@patiently
def test_no_bytes_written_as_a_code_do_more_than_be_refused(body: bytes) -> None:
    assert examine_unsigned(encode(body)) == "malformed"


@given(
    st.sampled_from([GOOD, GOOD_STATIC]),
    st.lists(st.tuples(a_place, a_piece, st.integers(0, 4)), min_size=1, max_size=4),
)
@more_patiently
def test_a_code_that_was_cut_and_spliced_is_refused(good: bytes, changes: list[tuple[int, bytes, int]]) -> None:
    body = good
    for place, piece, gone in changes:
        body = body[:place] + piece + body[place + gone :]
    verdict = examine_unsigned(encode(body))
    assert verdict == "valid" if body == good else verdict in {"malformed", "unknown-key", "bad-signature"}


@given(alg=st.binary(min_size=1, max_size=5), kid=st.binary(min_size=7, max_size=9))
@patiently
def test_a_header_of_any_making_is_refused(alg: bytes, kid: bytes) -> None:
    assert examine(digits(envelope(protected=header(alg, kid)))) in {"malformed", "unknown-key"}


@given(iat=times, exp=times, clock=times)
@more_patiently
def test_signed_times_of_any_making_end_as_documented(iat: int, exp: int, clock: int) -> None:
    payload = b"\xa3\x04" + four(exp) + b"\x06" + four(iat) + b"\x07\x50" + CTI
    in_time = 0 < exp - iat <= 60 and iat - 5 <= clock <= exp + 5
    verdict = examine(digits(envelope(payload=payload)), clock)
    assert in_time or verdict != "valid"


@given(iat=times, exp=times, clock=times, kind=st.just(STATIC) | st.binary(max_size=8))
@more_patiently
def test_signed_times_of_a_static_code_end_as_documented(iat: int, exp: int, clock: int, kind: bytes) -> None:
    payload = b"\xa4\x04" + four(exp) + b"\x06" + four(iat) + b"\x07\x50" + CTI + kind
    in_time = kind == STATIC and 0 < exp - iat <= STATIC_SECONDS and iat - 5 <= clock <= exp + 5
    verdict = examine(digits(envelope(payload=payload)), clock)
    assert in_time or verdict != "valid"


@given(life=st.integers(1, STATIC_SECONDS), passed=st.integers(0, STATIC_SECONDS))
@patiently
def test_a_static_code_is_good_for_its_life(life: int, passed: int) -> None:
    code = digits(envelope(payload=static_claims(life=life)))
    assert examine(code, NOON + min(life, passed)) == "valid"
    assert examine(code, NOON + life + 5.001) == "expired"


@given(start=st.integers(0, 60), life=st.integers(1, 60))
@patiently
def test_a_code_is_good_from_five_seconds_before_to_five_after_its_life(start: int, life: int) -> None:
    code = digits(envelope(payload=claims(iat=NOON + start, life=life)))
    ends = [examine(code, NOON + start + moment) for moment in (-5.001, -5, 0, life, life + 5, life + 5.001)]
    assert ends == ["not-yet-valid", "valid", "valid", "valid", "valid", "expired"]


near_national = st.text("0123456789ABCDEF", min_size=62, max_size=66) | st.text("09AFGafz", min_size=64, max_size=64)
parts = (
    st.sampled_from(["0", "1", "9", "2", ""])
    | st.text("0123456789ABCDEFf", min_size=31, max_size=33)
    | st.text(max_size=3)
)


@given(st.tuples(near_national, st.lists(parts, max_size=4)).map(lambda made: ":".join([made[0], *made[1]])))
@more_patiently
def test_what_is_nearly_a_national_text_is_read_as_one_or_refused(text: str) -> None:
    examine_readers(text)
    examine_readers("692" + text[3:])
    examine_readers("691" + text[3:])


@given(st.text("0123456789 \n", min_size=16, max_size=19).map("692".__add__))
@more_patiently
def test_what_is_nearly_a_temporary_code_is_read_as_one_or_refused(text: str) -> None:
    ends = examine_readers(text)
    assert ends[TextKind.TEMPORARY] == "malformed" or len(text.strip(" \n")) == 20


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16))
@patiently
def test_what_we_write_is_taken_by_its_own_reader_alone(card_id: bytes, validity: bytes) -> None:
    for text, kind in (
        (national_static(card_id), TextKind.NATIONAL),
        (national_dynamic(card_id, validity), TextKind.NATIONAL),
        (make_temporary(), TextKind.TEMPORARY),
    ):
        assert examine_readers(text)[kind] == text
        assert examine_unsigned(text) in {"unknown-format", "malformed"}


@given(st.sampled_from(b"tnbsp"), st.binary(max_size=300))
@patiently
def test_what_the_fuzzer_tries_holds(kind: int, rest: bytes) -> None:
    examine_bytes(bytes([kind]) + rest)


def test_everything_the_fuzzer_starts_from_holds() -> None:
    for seed in seeds():
        examine_bytes(seed)
