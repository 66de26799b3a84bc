"""The table of disclosure: which rule decides what a terminal is told at a step. Pure.

The more exact row wins, whole: an institution's over its kind's, that over everybody's; at equal exactness the one for the
step over the one for any step. A row that is not yet, or no longer, valid is as if it were not there.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import NamedTuple
from uuid import UUID

from ehc.disclosure.fields import DEFAULT

TAKES_EFFECT = timedelta(seconds=10)
"""Within this every worker follows a new version."""


class Scope(NamedTuple):
    """For whom and for what a row is; None is any."""

    institution_id: UUID | None = None
    kind: str | None = None
    step: str | None = None


class Rule(NamedTuple):
    """One row. Valid from `valid_from` on, and before `valid_until`; `told` are the words of its fields."""

    scope: Scope
    told: frozenset[str]
    reason: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def valid(self, at: datetime) -> bool:
        """Whether the row counts at a time."""
        return (self.valid_from is None or self.valid_from <= at) and (
            self.valid_until is None or at < self.valid_until
        )


class Candidate(NamedTuple):
    """A row that is about what was asked, and how it fared: `decides`, `not-yet`, `over` or `less-exact`."""

    rule: Rule
    fate: str


def _nobody() -> Mapping[UUID, str]:
    return {}


@dataclass(frozen=True)
class Table:
    """One version of the table. `kinds` are those of the institutions; `since` is when it was approved."""

    version: int
    rules: tuple[Rule, ...]
    kinds: Mapping[UUID, str] = field(default_factory=_nobody)
    since: datetime | None = None

    def __post_init__(self) -> None:
        rows: dict[Scope, list[Rule]] = defaultdict(list)
        for rule in self.rules:
            rows[rule.scope].append(rule)
        object.__setattr__(self, "_rows", dict(rows))

    def decide(self, institution_id: UUID | None, step: str, at: datetime) -> Rule | None:
        """The row that decides; None: no row does, and the default is told."""
        rows: Mapping[Scope, list[Rule]] = getattr(self, "_rows")  # noqa: B009 - set once, above
        for scope in self._scopes(institution_id, step):
            for rule in rows.get(scope, ()):
                if rule.valid(at):
                    return rule
        return None

    def told(self, institution_id: UUID | None, step: str, at: datetime) -> frozenset[str]:
        """The words of the fields that may be told."""
        rule = self.decide(institution_id, step, at)
        return DEFAULT if rule is None else rule.told

    def steady(self, institution_id: UUID | None, step: str, since: datetime, until: datetime) -> bool:
        """Whether two checks at these times were surely told the same, whichever workers answered them."""
        if self.since is not None and since < self.since + TAKES_EFFECT:
            return False
        return self.told(institution_id, step, since) == self.told(institution_id, step, until)

    def candidates(self, institution_id: UUID | None, step: str, at: datetime) -> list[Candidate]:
        """Every row about this terminal and step, the most exact first."""
        deciding, found = self.decide(institution_id, step, at), []
        for scope in self._scopes(institution_id, step):
            for rule in (rule for rule in self.rules if rule.scope == scope):
                if rule is deciding:
                    found.append(Candidate(rule, "decides"))
                elif rule.valid(at):
                    found.append(Candidate(rule, "less-exact"))
                else:
                    early = rule.valid_from is not None and at < rule.valid_from
                    found.append(Candidate(rule, "not-yet" if early else "over"))
        return found

    def _scopes(self, institution_id: UUID | None, step: str) -> Iterator[Scope]:
        if institution_id is not None:
            yield Scope(institution_id, None, step)
            yield Scope(institution_id, None, None)
            kind = self.kinds.get(institution_id)
            if kind is not None:
                yield Scope(None, kind, step)
                yield Scope(None, kind, None)
        yield Scope(None, None, step)
        yield Scope()


class Overlap(NamedTuple):
    """Two rows, by their places, of one scope that are valid at one time: neither could be said to decide."""

    first: int
    second: int


def overlaps(rules: Iterable[Rule]) -> Overlap | None:
    """The first two rows that contradict each other, if any do."""
    seen: dict[Scope, list[tuple[int, Rule]]] = defaultdict(list)
    for place, rule in enumerate(rules):
        for before, other in seen[rule.scope]:
            starts = max((at for at in (rule.valid_from, other.valid_from) if at), default=None)
            ends = min((at for at in (rule.valid_until, other.valid_until) if at), default=None)
            if starts is None or ends is None or starts < ends:
                return Overlap(before, place)
        seen[rule.scope].append((place, rule))
    return None


class Difference(NamedTuple):
    """Rows that one version has and another has not."""

    removed: list[Rule]
    added: list[Rule]


def difference(old: Table, new: Table) -> Difference:
    """What became of the rows between two versions. A row that changed is one removed and one added."""
    return Difference(
        [rule for rule in old.rules if rule not in new.rules], [rule for rule in new.rules if rule not in old.rules]
    )


@cache
def shipped() -> Table:
    """Version 0: the rows of the package, which hold until a version of the deployment's own was approved."""
    text = files("ehc.disclosure").joinpath("data", "defaults.csv").read_text(encoding="utf-8")
    rules = (
        Rule(Scope(None, row["kind"] or None, row["step"] or None), frozenset(row["fields"].split()), row["reason"])
        for row in csv.DictReader(text.splitlines())
    )
    return Table(0, tuple(rules))
