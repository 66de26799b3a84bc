"""Who may call: institutions, apps, terminals, their tokens and scopes."""
