"""The two-person rule: what one person proposes, another approves, and only then it is done (docs/disclosure.md)."""
