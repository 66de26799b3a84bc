"""Tells running simulators whom to know and how to fail, and reads what they were sent."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any


class OrderError(Exception):
    """The simulators did not take an order, or are not there."""


@dataclass(frozen=True)
class Controls:
    """The `/simulator/…` paths of the simulators at `url`. Every method raises `OrderError`."""

    url: str

    def state(self) -> dict[str, Any]:
        """Modes, counts and rules."""
        return self._send("/simulator/")

    def add_person(
        self, *, name: str, id_type: str, id_number: str, birth_date: date | None = None, status: str = "normal"
    ) -> None:
        """Hold this person. `status` is that of the document: normal, lost, expired or cancelled."""
        born = birth_date.isoformat() if birth_date is not None else None
        person = {"name": name, "id_type": id_type, "id_number": id_number, "birth_date": born, "status": status}
        self._send("/simulator/people", person)

    def mark_dead(self, *, id_type: str, id_number: str, death_date: date) -> None:
        """The holder of a document died: checks answer so, and there is one more notice."""
        died = {"id_type": id_type, "id_number": id_number, "death_date": death_date.isoformat()}
        self._send("/simulator/deaths", died)

    def deaths(self) -> list[dict[str, Any]]:
        """Every death notice, the oldest first."""
        notices: list[dict[str, Any]] = self._send("/simulator/deaths")["deaths"]
        return notices

    def set_mode(
        self, mode: str, *, party: str | None = None, seconds: float = 0, path: str | None = None, times: int = 0
    ) -> None:
        """How `identity`, `sms`, `bank`, `wechat`, `alipay`, or all for None, answer from now on; `seconds` is for `slow`.

        With `path` only questions to that path, so many `times`; 0 is for good.
        """
        told = {"mode": mode, "party": party, "seconds": seconds, "path": path, "times": times}
        self._send("/simulator/mode", told)

    def messages(self, phone: str | None = None) -> list[dict[str, Any]]:
        """Messages sent, to one phone or to all, the newest first."""
        sent: list[dict[str, Any]] = self._send("/simulator/messages")["messages"]
        return [message for message in sent if phone in (None, message["phone"])]

    def show_card(self, image: bytes, **card: str) -> None:
        """Say what a picture shows: name, number, sex, nation, birth_date, address."""
        self._send("/simulator/card-pictures", {"sha256": sha256(image).hexdigest(), **card})

    def add_account(self, **account: Any) -> None:
        """Have the bank hold an account: number, name, id_type, id_number, phone; state, kind and limits if it likes."""
        self._send("/simulator/bank/accounts", account)

    def bank_code(self, last4: str) -> str:
        """The newest one-time code that the bank sent for an account."""
        return str([one["code"] for one in self._send("/simulator/bank/codes")["codes"] if one["last4"] == last4][-1])

    def bank_bindings(self) -> dict[str, str]:
        """The state at the bank of every start."""
        return {one["start_request"]: one["state"] for one in self._send("/simulator/bank/bindings")["bindings"]}

    def set_bank_binding(self, start_request: str, state: str, **more: Any) -> None:
        """Make a binding appear, change or vanish at the bank alone: started, bound, refused, expired, ended, forgotten."""
        self._send("/simulator/bank/bindings", {"start_request": start_request, "state": state, **more})

    def bank_notice(self, start_request: str, what: str, **more: Any) -> dict[str, Any]:
        """One more notice of the bank; told at once to the service at `deliver_to`, if that is given."""
        return self._send("/simulator/bank/notices", {"start_request": start_request, "what": what, **more})

    def bank_notices(self) -> list[dict[str, Any]]:
        """Every notice that the bank made, the oldest first."""
        notices: list[dict[str, Any]] = self._send("/simulator/bank/notices")["notices"]
        return notices

    def login_code(self, platform: str, person: str, **more: Any) -> str:
        """A log-in code of `wechat` or `alipay` for a person, as the platform's app on their phone gives one."""
        return str(self._send(f"/simulator/{platform}/codes", {"person": person, **more})["code"])

    def clear(self) -> None:
        """Forget everybody and every message; answer normally."""
        self._send("/simulator/clear", {})

    def _send(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - ours
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError) as error:
            raise OrderError(f"{path}: {type(error).__name__}") from None
