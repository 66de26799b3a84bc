"""The simulated population register. In memory: what it was told is gone when the process ends."""

from dataclasses import dataclass
from datetime import date
from threading import Lock
from typing import Any

from ehc.core.documents import Document

STATUSES = ("normal", "lost", "expired", "cancelled")
UNKNOWN = ("match", "not-found")

BY_NAME = {"查无": "not-found", "不符": "mismatch", "失效": "document-invalid", "已故": "deceased"}
"""For people it was not told about: how a name ends, and what is answered, so that outcomes can be tried by hand."""


@dataclass(frozen=True)
class Person:
    """Somebody the register holds. Without a birth date, any fits."""

    name: str
    document: Document
    birth_date: str | None = None
    status: str = "normal"


class Register:
    """Threads share it. `unknown` is the answer for people it holds nothing about, where no rule of `BY_NAME` fits."""

    def __init__(self, *, unknown: str = "match") -> None:
        self._unknown, self._lock = unknown, Lock()
        self.clear()

    def clear(self) -> None:
        """Forget everybody."""
        with self._lock:
            self._people: dict[Document, Person] = {}
            self._deaths: dict[Document, date] = {}
            self._notices: list[dict[str, Any]] = []
            self._answers = 0

    def add(self, person: Person) -> None:
        """Hold this person, in place of whoever had the document."""
        with self._lock:
            self._people[person.document] = person

    def mark_dead(self, document: Document, day: date) -> None:
        """The holder of a document died, whether or not the register holds the person: one more notice."""
        with self._lock:
            self._deaths[document] = day
            number = len(self._notices) + 1
            self._notices.append(
                {
                    "notice_id": f"SIM-D-{number:06}",
                    "document": {"type": document.type, "number": document.number},
                    "death_date": day.isoformat(),
                }
            )

    def deaths(self) -> list[dict[str, Any]]:
        """Every notice, the oldest first."""
        with self._lock:
            return list(self._notices)

    def finding(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to an identity check. Raises `KeyError` or `TypeError` for what is not one."""
        named = question["document"]
        document = Document(named["type"], named["number"])
        with self._lock:
            self._answers += 1
            outcome = self._outcome(question["name"], document, question.get("birth_date"))
            died = self._deaths.get(document) if outcome == "deceased" else None
            reference = f"SIM-{self._answers:06}"
        return {"outcome": outcome, "reference": reference, "death_date": died and died.isoformat()}

    def page(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to a call for death notices; its cursor counts them. Raises `ValueError` for a strange cursor."""
        start = int(question["after"] or 0)
        with self._lock:
            notices = self._notices[start : start + min(int(question["limit"]), 100)]
            end = start + len(notices)
            return {"notices": notices, "cursor": str(end), "more": end < len(self._notices)}

    def _outcome(self, name: str, document: Document, birth_date: str | None) -> str:
        person = self._people.get(document)
        if person is not None:
            other_birth = None not in (birth_date, person.birth_date) and birth_date != person.birth_date
            if name != person.name or other_birth:
                return "mismatch"
        if document in self._deaths:
            return "deceased"
        if person is not None:
            return "match" if person.status == "normal" else "document-invalid"
        return next((outcome for ending, outcome in BY_NAME.items() if name.endswith(ending)), self._unknown)
