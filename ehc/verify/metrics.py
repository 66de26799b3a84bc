"""What the verifier counts."""

from prometheus_client import Counter

SCANS = Counter("ehc_scans", "Scans answered, by outcome: `accepted`, or the reason of the refusal.", ["outcome"])
