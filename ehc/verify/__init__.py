"""Checking codes at hospitals. Holds no signer, and can import none."""
