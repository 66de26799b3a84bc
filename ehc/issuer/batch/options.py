"""How a file is to be imported. Kept with the run, since a run that is taken up again must go on the same way."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ehc.cards.states import Level
from ehc.files.pieces import PIECE_BYTES

OPERATOR = "operator"
"""Who acts where an import comes from the command line."""


@dataclass(frozen=True)
class Options:
    """`header` are the file's columns, `level` is for rows without one, `client_id` gains a grant for every card."""

    header: list[str]
    encoding: str = "utf-8"
    level: Level = Level.DOCUMENT_SEEN
    client_id: UUID | None = None
    actor: str = OPERATOR
    dry_run: bool = False
    piece_bytes: int = PIECE_BYTES

    @property
    def of_app(self) -> bool:
        """Whether an app sent it: it vouches for its own eyes and for no register."""
        return self.actor != OPERATOR

    def told(self) -> dict[str, Any]:
        """As JSON. No personal data."""
        return {
            "header": self.header,
            "encoding": self.encoding,
            "level": str(self.level),
            "client_id": str(self.client_id) if self.client_id else None,
            "actor": self.actor,
            "dry_run": self.dry_run,
            "piece_bytes": self.piece_bytes,
        }

    @classmethod
    def read(cls, told: dict[str, Any]) -> "Options":
        """What `told` gave."""
        client = told["client_id"]
        return cls(
            header=list(told["header"]),
            encoding=told["encoding"],
            level=Level(told["level"]),
            client_id=UUID(client) if client else None,
            actor=told["actor"],
            dry_run=told["dry_run"],
            piece_bytes=told["piece_bytes"],
        )
