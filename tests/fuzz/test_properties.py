"""The properties that `make fuzz` tries for longer, tried by hypothesis."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ehc.codes.signed import encode
from tests.fuzz.properties import examine, examine_bytes, examine_unsigned, seeds
from tests.vectors import CTI, NOON, claims, digits, envelope, four, header

GOOD = envelope()
READABLE = "691 \t\r\n0123456789٣３²-+_.xE"

patiently = settings(deadline=None)  # other tests run beside these
more_patiently = settings(deadline=None, max_examples=400)

a_place = st.integers(0, len(GOOD) - 1)
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


@given(st.lists(st.tuples(a_place, a_piece, st.integers(0, 4)), min_size=1, max_size=4))
@more_patiently
def test_a_code_that_was_cut_and_spliced_is_refused(changes: list[tuple[int, bytes, int]]) -> None:
    body = GOOD
    for place, piece, gone in changes:
        body = body[:place] + piece + body[place + gone :]
    verdict = examine_unsigned(encode(body))
    assert verdict == "valid" if body == GOOD else verdict in {"malformed", "unknown-key", "bad-signature"}


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


@given(start=st.integers(0, 60), life=st.integers(1, 60))
@patiently
def test_a_code_is_good_from_five_seconds_before_to_five_after_its_life(start: int, life: int) -> None:
    code = digits(envelope(payload=claims(iat=NOON + start, life=life)))
    ends = [examine(code, NOON + start + moment) for moment in (-5.001, -5, 0, life, life + 5, life + 5.001)]
    assert ends == ["not-yet-valid", "valid", "valid", "valid", "valid", "expired"]


@given(st.sampled_from(b"tnbs"), st.binary(max_size=300))
@patiently
def test_what_the_fuzzer_tries_holds(kind: int, rest: bytes) -> None:
    examine_bytes(bytes([kind]) + rest)


def test_everything_the_fuzzer_starts_from_holds() -> None:
    for seed in seeds():
        examine_bytes(seed)
