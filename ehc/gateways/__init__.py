"""Interfaces (接入网关) that hospitals and mini-programs already speak, as thin translators onto the rooms."""
