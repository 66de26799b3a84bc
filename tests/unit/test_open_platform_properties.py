"""Any request at all: what is signed is what the rule says, written down a second time here; and nothing breaks the reader."""

import base64
import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ehc.gateways.open_platform import envelope, signing
from ehc.gateways.open_platform.envelope import Request
from ehc.gateways.open_platform.qr_text import as_known
from ehc.gateways.open_platform.results import Refusal

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(lambda name: name != "sign")
FLAT = st.none() | st.booleans() | st.integers() | TEXT
NESTED = st.recursive(
    FLAT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
MEMBERS = st.dictionaries(NAMES, NESTED, max_size=5)


def said(value: Any) -> str:
    """A value as the rule writes it (2.1), by Python's own JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(without_nulls(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@given(MEMBERS, MEMBERS)
def test_the_text_is_what_the_rule_says(common: dict[str, Any], req: dict[str, Any]) -> None:
    merged = {name: value for name, value in {**common, **req}.items() if value is not None and said(value).strip()}
    expected = "&".join(f"{name}={said(value)}" for name, value in sorted(merged.items()))
    assert signing.canonical(Request(common, req)) == expected
    sign = base64.b64encode(hashlib.sha256((expected + "s").encode()).digest()).decode()
    assert signing.matching(Request({**common, "sign": sign}, req), [b"other", b"s"]) == "standard"
    assert signing.matching(Request({**common, "sign": sign}, req), [b"t"]) is None


@given(MEMBERS, MEMBERS)
def test_what_was_sent_is_what_was_signed(common: dict[str, Any], req: dict[str, Any]) -> None:
    for ascii_only in (True, False):
        raw = json.dumps({"req": req, "commonIn": common}, ensure_ascii=ascii_only).encode()
        read = envelope.read(raw)
        assert signing.canonical(read) == signing.canonical(Request(common, req))


@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_body_is_a_request_or_refused(raw: bytes) -> None:
    for body in (raw, b'{"commonIn":{},"req":' + raw + b"}", b'{"commonIn":{"sign":"' + raw + b'"},"req":{}}'):
        try:
            found = envelope.read(body)
        except Refusal as refusal:
            assert refusal.result == 10001  # noqa: PT017
        else:
            assert signing.matching(found, [b"s"]) is None
            envelope.answer(found.request_id, {})


@given(st.text(max_size=140))
def test_any_text_is_a_code_or_refused(text: str) -> None:
    try:
        known = as_known(text)
    except Refusal as refusal:
        assert refusal.result == 40002  # noqa: PT017
    else:
        assert as_known(known) == known.strip()
