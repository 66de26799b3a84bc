"""Keys at rest: signing keys and secret keys, stored wrapped by the key-encrypting key."""
