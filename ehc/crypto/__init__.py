"""Keys and ciphers. Nothing here knows what a card is."""
