"""The signature of an event, against the example of the documentation and a vector of the specification's libraries."""

import re
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ehc.access.webhook_sending import headers, outcome_of, signature
from ehc.access.webhook_turns import Receiver, payload
from ehc.access.webhooks import new_secret

DOCS = Path(__file__).parents[2] / "docs" / "webhooks.md"
EVENT = UUID("019b0000-0000-7000-8000-000000000001")


def example() -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["is_ours"]


def test_a_vector_of_the_specifications_own_libraries() -> None:
    made = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_documentation_takes_what_is_sent_and_nothing_else() -> None:
    is_ours, secret, old, other = example(), new_secret(), new_secret(), new_secret()
    body = payload("card.suspended", datetime(2026, 1, 9, 8, tzinfo=UTC), EVENT, {"status": "suspended"})
    to = Receiver(EVENT, EVENT, "https://example.com/", (secret, old), 0)
    sent = headers(to, EVENT, body, now=datetime.fromtimestamp(time.time(), UTC))
    assert is_ours(secret, sent, body)
    assert is_ours(old, sent, body)
    assert not is_ours(other, sent, body)
    assert not is_ours(secret, sent, body + b" ")
    assert not is_ours(secret, sent | {"webhook-id": "x"}, body)
    late = headers(to, EVENT, body, now=datetime.fromtimestamp(time.time() - 400, UTC))
    assert not is_ours(secret, late, body)
    assert "." not in sent["webhook-id"]


def test_a_secret_is_32_random_bytes() -> None:
    secret = new_secret()
    assert secret != new_secret()
    assert len(secret) == len("whsec_" + b64encode(bytes(32)).decode())


@pytest.mark.parametrize(
    ("status", "error", "alone"),
    [
        (200, None, False), (204, None, False), (299, None, False), (199, "status", False), (300, "redirect", False),
        (301, "redirect", False), (308, "redirect", False), (400, "status", True), (401, "status", False),
        (404, "status", False), (409, "status", True), (410, "gone", False), (422, "status", True),
        (429, "too-many", False), (500, "status", False), (503, "status", False),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, error: str | None, alone: bool) -> None:
    outcome = outcome_of(status, None, slow=False)
    assert (outcome.error, outcome.alone) == (error, alone)
