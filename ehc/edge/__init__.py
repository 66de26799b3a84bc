"""How the rooms are joined: what each is handed, and which of its routes are served. Only `ehc.app` uses it."""
