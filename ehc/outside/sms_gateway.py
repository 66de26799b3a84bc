"""The SMS gateway, which delivers short messages to phones. Its wire format is docs/outside-parties.md, section 5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from ehc.clock import Clock
from ehc.errors import EhcError, Text, Unavailable
from ehc.outside.signed_http import Misshapen, NoAnswer, PartyKey, SignedParty

_AWAY = Text("短信服务暂不可用，请稍后重试。", "The SMS gateway is away. Try again shortly.")
_REFUSED = Text(
    "该号码无法接收短信；请核对号码，或换一个可接收短信的手机号码。",
    "This number cannot receive messages. Check it, or give a mobile number that can.",
)


class SmsAway(Unavailable):
    """The gateway did not answer; the message may have been sent. Send it again under the same message id."""

    code = "sms-away"


class SmsRefused(EhcError):
    """The gateway answered that this number cannot receive messages; sending again does not help."""

    code = "sms-refused"


class SmsGateway(Protocol):
    """Anything that delivers short messages."""

    def send(self, phone: str, template: str, values: Mapping[str, str], message_id: UUID) -> None:
        """Send one message, once for each `message_id` however often it is called. Raises `SmsAway`, `SmsRefused`."""
        ...


class HttpSmsGateway:
    """The gateway behind `url`. Threads may share it; ask outside a database transaction, it can take 3 s."""

    def __init__(self, url: str, key: PartyKey | Path, *, clock: Clock) -> None:
        """`key` or its file. Raises `SetupError`."""
        key = PartyKey.from_file(key) if isinstance(key, Path) else key
        self._party = SignedParty("sms-gateway", url, key, clock=clock)

    def send(self, phone: str, template: str, values: Mapping[str, str], message_id: UUID) -> None:
        """Send one message, once for each `message_id` however often it is called. Raises `SmsAway`, `SmsRefused`.

        `phone` is in the form of `ehc.core.phones`; `template` and the names in `values` are agreed with the gateway.
        """
        message = {"message_id": message_id, "phone": phone, "template": template, "values": dict(values)}
        try:
            accepted = self._party.ask("/v1/messages", message, _accepted)
        except NoAnswer as none:
            raise SmsAway(_AWAY, retry_after=none.retry_after) from None
        if not accepted:
            raise SmsRefused(_REFUSED)


def _accepted(answer: dict[str, Any]) -> bool:
    result = answer.get("result")
    if result not in ("accepted", "refused"):
        raise Misshapen
    return bool(result == "accepted")
