"""What a card's codes say: derivation and formats. Pure; keys come in by the door."""
