"""The register of virtual cards: states, levels, grants."""
