"""`make bench`: prints a table and writes `var/bench.json`."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import core, imports, patients
from bench.ground import Ground, prepared
from bench.routes import in_turns, serving
from ehc.clock import SystemClock
from ehc.dev.process import DevServerError

_CARDS = 4000
_ROUNDS = 7
VAR = Path("var")


@dataclass(frozen=True)
class Line:
    """One measured value. `target` None is information; `least` says on which side of the target is good.

    `mark` is shown beside information, to compare with, and never counts as missed.
    """

    name: str
    value: float
    target: float | None = None
    least: bool = True
    lowest: float | None = None
    highest: float | None = None
    mark: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the target is met."""
        return self.target is None or (self.value >= self.target if self.least else self.value <= self.target)


def measure(ground: Ground) -> list[Line]:
    """Everything, in the order in which it is printed."""
    lines = [_ratio("check.core_vs_es256", core.measure(ground), 1.3, least=False)]
    with serving(ground) as routes:
        since = SystemClock().now()
        bare, ours, insert = in_turns(_ROUNDS, routes.bare_check(), routes.verify(), routes.bare_insert())
        grouped = ground.group_size(since)
        half = patients.bind_half(ground)
        without, with_id = in_turns(_ROUNDS, routes.verify(ground.cards[:half]), routes.verify(ground.cards[half:]))
        guarded, unguarded = in_turns(_ROUNDS, routes.verify(), routes.verify_unguarded())
        plain, soap, platform = in_turns(_ROUNDS, routes.verify(), routes.verify_soap(), routes.verify_json())
        sign, codes = in_turns(_ROUNDS, routes.bare_sign(), routes.codes())
        worker = routes.worker_mb()
    named = {
        "verify": ours,
        "bare_check": bare,
        "bare_insert": insert,
        "codes": codes,
        "bare_sign": sign,
        "soap": soap,
        "json": platform,
    }
    return [
        *lines,
        _ratio("verify.route_vs_bare_check", ours.over(bare), 0.5),
        _ratio("verify.route_vs_bare_insert", ours.over(insert), 1.2),
        _ratio("codes.route_vs_bare_sign", codes.over(sign), 0.6),
        _ratio("auth.overhead", guarded.over(unguarded), 0.9),
        _ratio("verify.with_patient_id_vs_without", with_id.over(without), 0.95),
        _ratio("gateway.json_verify_vs_rest", platform.over(plain), 0.6),
        _ratio("gateway.soap_verify_vs_rest", soap.over(plain), 0.6),
        Line("worker.rss_mb", worker, 150, least=False),
        Line("verify.p50_ms", ours.milliseconds(50)),
        Line("verify.p99_ms", ours.milliseconds(99)),
        Line("verify.checks_per_commit", grouped),
        *(Line(f"{name}.per_second", bursts.rate) for name, bursts in named.items()),
        *(Line(f"{name}.sender_core_share", bursts.sender) for name, bursts in named.items()),
    ]


def measure_imports(folder: Path) -> list[Line]:
    """A whole province, and what a check costs beside it."""
    imported, cost, bound = imports.measure(folder)
    return [
        Line("import.vs_copy", imported.rate / imported.copied_per_second, 0.10),
        Line("import.memory_mb", imported.memory_mb, 300, least=False),
        _ratio("verify.cost_at_1m_vs_10k", cost, 1.2, least=False),
        Line("import.cards_per_second_per_core", imported.rate / (os.cpu_count() or 1), mark=10_000),
        Line("import.cards", imported.cards),
        Line("import.copied_per_second", imported.copied_per_second),
        Line("patients.rows_per_second", bound.rate),
        Line("patients.memory_mb", bound.memory_mb),
        *(Line(f"patients.{name}", getattr(bound, name)) for name in ("bound", "review", "bad")),
    ]


def _ratio(name: str, rounds: list[float], target: float, *, least: bool = True) -> Line:
    return Line(name, median(rounds), target, least, min(rounds), max(rounds))


def _print(lines: list[Line]) -> None:
    print(f"{'':32}{'value':>10}  {'target':>8}  {'rounds':>15}")
    for line in lines:
        bound = (
            f"({line.mark:g})"
            if line.mark
            else ""
            if line.target is None
            else f"{'>=' if line.least else '<='} {line.target:g}"
        )
        rounds = "" if line.lowest is None else f"{line.lowest:.2f} … {line.highest:.2f}"
        verdict = "" if line.target is None else "ok" if line.ok else "MISSED"
        print(f"{line.name:32}{line.value:10.2f}  {bound:>8}  {rounds:>15}  {verdict}")


def main() -> int:
    """0 when everything was measured; whether the targets are met stands in the table and in `var/bench.json`."""
    try:
        with prepared(VAR / "bench", cards=_CARDS) as ground:
            lines = measure(ground)
        lines += measure_imports(VAR / "bench-imports")
    except DevServerError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    _print(lines)
    told = {line.name: {"value": round(line.value, 3), "target": line.target, "ok": line.ok} for line in lines}
    (VAR / "bench.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    missed = sum(not line.ok for line in lines)
    print(
        f"\n{missed} of {sum(line.target is not None for line in lines)} targets missed; written to {VAR / 'bench.json'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
