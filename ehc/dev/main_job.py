"""The main job, once, over HTTP: a card is issued, its rotating code is shown, a scanner checks it, a second is refused."""

from dataclasses import dataclass
from typing import Any

from ehc.codes.images import modules
from ehc.dev.client import Client
from ehc.dev.terminal_qr import coloured, draw, photograph, read

PERSON = {
    "name": "张三",
    "id_type": "01",
    "id_number": "11010519491231002X",
    "phone": "13800138000",
    "verification": {"method": "document-seen", "reference": "demo"},
}
"""The standard's own sample number (GB 11643-1999): nobody's."""


@dataclass(frozen=True)
class Step:
    """One line of the table at the end."""

    what: str
    result: str
    detail: str


def run(demo: dict[str, Any]) -> list[Step]:
    """Do the job and print the code. Raises `ApiError` when the service refuses, `RuntimeError` on an unreadable picture."""
    app, first, second = (
        Client(demo["base_url"], demo[role]["client_id"], demo[role]["client_secret"])
        for role in ("app", "terminal", "second_terminal")
    )
    card = app.post("/v1/cards", PERSON)
    code = app.post(f"/v1/cards/{card['card_id']}/codes", {"format": "signed", "kind": "dynamic"})
    printed = "\n".join(coloured(draw(modules(code["code"]))))
    print(printed)
    seen = read(photograph(printed))
    if seen is None or seen != code["code"]:
        raise RuntimeError("the code on the screen does not read back as the code that was issued")
    print(f"  读回 read back by a scanner: {len(seen)} 位数字 digits, 与签发一致 the same as issued\n")
    shown = {"code": seen, "step": "registration", "channel": "window"}
    accepted = first.post("/v1/verifications", shown)
    refused = second.post("/v1/verifications", shown)
    resident = accepted.get("resident", {})
    return [
        Step("发卡 card issued", card["status"], f"{card['resident']['name']}  {card['card_id']}"),
        Step(
            f"验码 {demo['terminal']['terminal_code']}",
            accepted["outcome"],
            f"{resident.get('name')}  {resident.get('age')} 岁  {accepted['verification_id']}",
        ),
        Step(
            f"再验 {demo['second_terminal']['terminal_code']}",
            refused["outcome"],
            f"{refused['reason']}  {refused['message']}",
        ),
    ]
