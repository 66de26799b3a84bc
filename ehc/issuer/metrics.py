"""What the issuer counts."""

from prometheus_client import Counter

REGISTRATIONS = Counter("ehc_registrations", "Registrations answered, by whether the person was new.", ["person"])
CODES = Counter("ehc_codes_issued", "Codes issued.")
LOG_INS = Counter(
    "ehc_resident_log_ins", "Log-ins of residents, by platform and how they ended.", ["platform", "outcome"]
)
