"""Issuing: registration, the states of a card, rotating codes."""
