"""For development and tests only: embedded servers and demo people. Nothing of the product imports this room."""
