"""Webhooks as tests use them: a receiver in this process, and a worker's tasks run by hand."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ehc.access import webhook_tasks
from ehc.commands.webhook_receiver import Manners, Receiver
from ehc.place import Place
from ehc.verify import uses
from tests.support.service import Api, Service, told

ALL = [
    *("card.changed", "card.suspended", "card.resumed", "card.cancelled", "card.used", "binding.changed"),
    "review.decided",
]


@contextmanager
def receiving(**manners: Any) -> Iterator[Receiver]:
    """A receiver that behaves as told."""
    server = Receiver(("127.0.0.1", 0), Manners(**manners))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Hooks:
    """The service, and a worker that runs when told to."""

    service: Service
    place: Place

    @classmethod
    def start(cls, settings: Any) -> "Hooks":
        settings = replace(settings, webhook_loopback=True, codes_per_minute=1000)
        service = Service.start(settings)
        return cls(service, Place(settings, clock=service.clock, connections=8))

    def stop(self) -> None:
        self.place.close()
        self.service.stop()

    def advance(self, seconds: float) -> None:
        """Let time pass, and get tokens anew: they live for ten minutes."""
        self.service.clock.advance(seconds)
        if seconds >= 300:
            for api in (self.service.app, self.service.other_app, self.service.terminal, self.service.second_terminal):
                api.__post_init__()

    def place_events(self) -> None:
        webhook_tasks.place_events(self.place, lambda session, now: uses.tell(session, now=now))

    def deliver_well(self) -> None:
        """One tick of the task for receivers that go well."""
        webhook_tasks.deliver(self.place, lambda session, now: uses.tell(session, now=now))

    def deliver(self) -> None:
        """One tick of both tasks."""
        self.deliver_well()
        webhook_tasks.deliver_struggling(self.place)

    def subscribe(self, url: str, kinds: list[str] | None = None, app: Api | None = None) -> dict[str, Any]:
        answer = (app or self.service.app).post("/v1/webhooks", {"url": url, "kinds": kinds or ALL})
        assert answer.status_code == 201, answer.text
        return told(answer)

    def shown(self, webhook: dict[str, Any], app: Api | None = None) -> dict[str, Any]:
        return told((app or self.service.app).get(f"/v1/webhooks/{webhook['webhook_id']}"))

    def deliveries(self, webhook: dict[str, Any], state: str = "") -> list[dict[str, Any]]:
        path = f"/v1/webhooks/{webhook['webhook_id']}/deliveries?limit=100" + (f"&state={state}" if state else "")
        items = told(self.service.app.get(path))["items"]
        assert isinstance(items, list)
        return items

    def patch(self, webhook: dict[str, Any], **changes: Any) -> Any:
        app = self.service.app
        path = f"/v1/webhooks/{webhook['webhook_id']}"
        return app.http.patch(path, json=changes, headers=app.headers | {"If-Match": app.get(path).headers["ETag"]})

    def act(self, card: dict[str, Any], *acts: str) -> None:
        for act in acts:
            answer = self.service.app.post(f"/v1/cards/{card['card_id']}/{act}", {"reason": "测试"})
            assert answer.status_code == 200, answer.text


def kinds(receiver: Receiver) -> list[str]:
    return [event["type"] for event in receiver.manners.seen]
