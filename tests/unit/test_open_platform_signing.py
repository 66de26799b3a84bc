"""The open platform's signature (open-platform JSON 2): the published vectors, and each family of clients."""

import json
from pathlib import Path
from typing import Any

import pytest

from ehc.gateways.open_platform.envelope import Request, read
from ehc.gateways.open_platform.results import Refusal
from ehc.gateways.open_platform.signing import PROFILES, canonical, matching, sign

SECRET = b"8c8e763f443ef983ac33aef1c7085cfb"
FILE = Path(__file__).parent.parent / "vectors" / "open_platform.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
BY_NAME = {profile.name: profile for profile in PROFILES}


def request_of(common: dict[str, Any], req: dict[str, Any], **more: Any) -> Request:
    return read(json.dumps({"commonIn": common | more, "req": req}, ensure_ascii=False).encode())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vector(case: dict[str, Any]) -> None:
    request = request_of(case["common"], case["req"], sign=case["sign"])
    assert matching(request, [case["secret"].encode()]) == case["profile"]
    text = canonical(request, BY_NAME[case["profile"]])
    assert sign(text, case["secret"].encode()) == case["sign"]
    if case["text"] is not None:
        assert text == case["text"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_one_changed_character_is_refused(case: dict[str, Any]) -> None:
    other = "A" if case["sign"][0] != "A" else "B"
    assert matching(request_of(case["common"], case["req"], sign=other + case["sign"][1:]), [SECRET]) is None
    common = case["common"] | {"requestId": "E856812660584E208D7421E1CAACE8C4"}
    assert matching(request_of(common, case["req"], sign=case["sign"]), [SECRET]) is None


COMMON = {"appToken": "T", "hospitalId": "1", "channelNum": 0, "timestamp": 1709601330}
REQ = {"hospitalId": "2", "open": False, "blank": " ", "empty": "", "items": [{"b": "<&>", "a": None, "c": ""}]}
TEXTS = {
    "standard": 'appToken=T&channelNum=0&hospitalId=2&items=[{"b":"<&>","c":""}]&open=false&timestamp=1709601330',
    "cs": 'appToken=T&channelNum=0&hospitalId=1&items=[{"b":"<&>","c":""}]&open=False&timestamp=1709601330',
    "go": "appToken=T&blank= &channelNum=0&hospitalId=2&items="
    r'[{"b":"\u003c\u0026\u003e","c":""}]&open=false&timestamp=1709601330',
    "go-nulls": "appToken=T&blank= &channelNum=0&hospitalId=2&items="
    r'[{"a":null,"b":"\u003c\u0026\u003e","c":""}]&open=false&timestamp=1709601330',
    "nd": 'appToken=T&blank= &hospitalId=2&items=[{"b":"<&>","c":""}]&timestamp=1709601330',
    "pf": 'appToken=T&blank= &channelNum=0&hospitalId=2&items=[{"b":"<&>","c":""}]&open=false&timestamp=1709601330',
}


@pytest.mark.parametrize("name", TEXTS)
def test_each_profile_is_accepted(name: str) -> None:
    assert canonical(request_of(COMMON, REQ), BY_NAME[name]) == TEXTS[name]
    assert matching(request_of(COMMON, REQ, sign=sign(TEXTS[name], SECRET)), [SECRET]) == name


def test_a_signature_over_the_name_of_an_empty_member_is_refused() -> None:
    text = TEXTS["pf"].replace("&hospitalId", "&empty=&hospitalId")
    assert matching(request_of(COMMON, REQ, sign=sign(text, SECRET)), [SECRET]) is None


def test_a_mixture_of_two_profiles_is_refused() -> None:
    text = TEXTS["cs"].replace("&channelNum=0", "")
    assert matching(request_of(COMMON, REQ, sign=sign(text, SECRET)), [SECRET]) is None


def test_either_of_two_secrets_signs_while_one_follows_the_other() -> None:
    request = request_of(COMMON, REQ, sign=sign(TEXTS["standard"], b"new"))
    assert matching(request, [SECRET, b"new"]) == "standard"
    assert matching(request, [SECRET]) is None


@pytest.mark.parametrize("value", [None, 5, "", "A" * 43, "é" * 44, ["x"]])
def test_what_is_no_signature_is_refused(value: Any) -> None:
    assert matching(request_of(COMMON, REQ, sign=value), [SECRET]) is None


def test_long_integers_and_other_numbers_are_signed_as_they_were_written() -> None:
    raw = b'{"commonIn":{"timestamp":12345678901234567890123},"req":{"a":1.50,"b":[1e3]}}'
    assert canonical(read(raw)) == "a=1.50&b=[1e3]&timestamp=12345678901234567890123"


def test_half_a_surrogate_pair_was_signed_by_nobody() -> None:
    raw = b'{"commonIn":{"sign":"' + b"A" * 44 + b'"},"req":{"name":"\\ud800"}}'
    assert matching(read(raw), [SECRET]) is None


def test_escapes_and_the_order_of_members_do_not_count() -> None:
    plain = read('{"commonIn":{"a":"/"},"req":{"name":"张三"}}'.encode())
    escaped = read(rb'{"req":{"name":"\u5f20\u4e09"},"commonIn":{"a":"\/"}}')
    assert canonical(plain) == canonical(escaped) == "a=/&name=张三"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"commonIn":{}}',
        b'{"commonIn":{},"req":[]}',
        b'{"commonIn":{},"req":{"a":NaN}}',
        b'{"commonIn":{},"req":{"a":1,"a":2}}',
        b'{"commonIn":{},"req":{"a":"\xd5\xc5"}}',
        b'{"commonIn":{},"req":{"a":' + b"9" * 5000 + b"}}",
        b'{"commonIn":{},"req":{"a":' + b"[" * 9 + b"]" * 9 + b"}}",
        b"[" * 100_000,
        b'{"commonIn":{},"req":{"a":[' + b"[]," * 700_000 + b"[]]}}",
        '{"commonIn":{},"req":{}}'.encode("utf-16"),
    ],
    ids=range(14),
)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        read(raw)
    assert refusal.value.result == 10001
