"""What the verifier counts."""

from functools import cache

from prometheus_client import Counter

_SCANS = Counter("ehc_scans", "Scans answered, by outcome: `accepted`, or the reason of the refusal.", ["outcome"])


@cache
def scans(outcome: str) -> Counter:
    """The counter of one outcome; finding it by its label takes longer than counting."""
    return _SCANS.labels(outcome)
