"""What a check may tell an institution, as managed data: rules, their versions, and which one decides (docs/disclosure.md)."""
