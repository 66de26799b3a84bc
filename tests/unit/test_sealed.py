"""Sealed fields and blind indexes."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.crypto.sealed import BlindIndex, SealBroken, Sealer

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PLACE = "resident.name:1"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_in_its_place(text: str) -> None:
    sealer = Sealer({1: OLD})
    sealed = sealer.seal(text, PLACE)
    assert sealer.unseal(sealed, PLACE) == text
    assert len(sealed) == len(text.encode()) + 31


def test_equal_texts_do_not_look_alike() -> None:
    sealer = Sealer({1: OLD})
    assert len({sealer.seal("王小明", PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize("place", ["resident.name:2", "resident.phone:1", "", "resident.name:1 "])
def test_another_place_does_not_open_it(place: str) -> None:
    sealer = Sealer({1: OLD})
    sealed = sealer.seal("王小明", PLACE)
    with pytest.raises(SealBroken):
        sealer.unseal(sealed, place)


def test_every_single_changed_byte_is_found() -> None:
    sealer = Sealer({1: OLD})
    sealed = sealer.seal("王小明", PLACE)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(SealBroken):
            sealer.unseal(changed, PLACE)


@pytest.mark.parametrize(
    "change",
    [
        lambda sealed: b"",
        lambda sealed: sealed[:1],
        lambda sealed: sealed[:14],
        lambda sealed: sealed[:30],
        lambda sealed: sealed[:-1],
        lambda sealed: sealed + b"\x00",
        lambda sealed: b"\x02" + sealed[1:],
    ],
    ids=["nothing", "1 byte", "half a nonce", "no tag", "cut", "longer", "another format"],
)
def test_what_is_not_a_sealed_value_does_not_open(change: Callable[[bytes], bytes]) -> None:
    sealer = Sealer({1: OLD})
    with pytest.raises(SealBroken):
        sealer.unseal(change(sealer.seal("", PLACE)), PLACE)


def test_the_newest_key_seals_and_every_key_opens() -> None:
    old, both = Sealer({1: OLD}), Sealer({1: OLD, 2: NEW})
    assert both.unseal(old.seal("王小明", PLACE), PLACE) == "王小明"
    sealed = both.seal("王小明", PLACE)
    assert sealed[:3] == b"\x01\x00\x02"
    with pytest.raises(SealBroken):
        old.unseal(sealed, PLACE)


def test_another_key_of_the_same_version_does_not_open_it() -> None:
    sealed = Sealer({1: OLD}).seal("王小明", PLACE)
    with pytest.raises(SealBroken):
        Sealer({1: NEW}).unseal(sealed, PLACE)


def test_an_index_is_the_same_for_the_same_value_and_no_other() -> None:
    index = BlindIndex(OLD)
    assert index.of("phone", "13800138000") == index.of("phone", "13800138000")
    others = [
        index.of("phone", "13800138001"),
        index.of("identity-document", "13800138000"),
        index.of("phone\x001", "3800138000"),
        BlindIndex(NEW).of("phone", "13800138000"),
    ]
    assert len({index.of("phone", "13800138000"), *others}) == 5
    assert {len(other) for other in others} == {32}


def test_a_broken_seal_tells_nothing() -> None:
    sealer = Sealer({1: OLD})
    with pytest.raises(SealBroken) as caught:
        sealer.unseal(sealer.seal("王小明", PLACE), "x")
    assert str(caught.value) == ""
    assert caught.value.__cause__ is None
