"""Parties outside: the identity authority and the SMS gateway, asked over signed HTTP (docs/outside-parties.md)."""
