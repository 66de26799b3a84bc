"""Texts of QR codes as the open platform has them (open-platform JSON 6)."""

import pytest

from ehc.gateways.open_platform.qr_text import as_known, card_id_in, is_static
from ehc.gateways.open_platform.results import Refusal

ID, VALIDITY = "443915BF7AF624F0F3D2551E18259F385294CBB3952253F7A546C6261F13D153", "BE2A84C9860DD5AE8ECCFD8DA8FCD6E0"
DYNAMIC = f"{ID}:0:{VALIDITY}"


@pytest.mark.parametrize(
    ("scanned", "known"),
    [
        (f"{ID}:1", f"{ID}:1"),
        (f"{ID}:1:", f"{ID}:1"),
        (f"{ID}:1::4400A000", f"{ID}:1"),
        (DYNAMIC, DYNAMIC),
        (f"{DYNAMIC}:6300A0001ABCD0001", DYNAMIC),
        (f"{DYNAMIC}::35020001001", DYNAMIC),
        (f"  {DYNAMIC.lower()}\r\n", DYNAMIC),
        (DYNAMIC.replace(":", "："), DYNAMIC),
        (f"691{'7' * 280}", f"691{'7' * 280}"),
    ],
)
def test_each_form_is_read(scanned: str, known: str) -> None:
    assert as_known(scanned) == known
    assert card_id_in(known) == (ID if ":" in known else None)
    assert is_static(known) == known.endswith(":1")


@pytest.mark.parametrize(
    "scanned",
    [
        "",
        "hello",
        ID,
        f"{ID}:",
        f"{ID}:2",
        f"{ID}:9",
        f"{ID}:0",
        f"{ID}:0:",
        f"{ID}:0:{VALIDITY[:-1]}",
        f"{ID}:1:{VALIDITY}",
        f"{ID[:48]}:0:{VALIDITY}::35020001001",
        f"{DYNAMIC}:a:b:c",
        f"G{ID[1:]}:1",
        f"{ID}:1" + " " * 1024,
    ],
)
def test_anything_else_is_refused(scanned: str) -> None:
    with pytest.raises(Refusal) as refusal:
        as_known(scanned)
    assert refusal.value.result == 40002
