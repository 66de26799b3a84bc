"""Residents who logged in through an app: as whom a platform knows them, their sessions, and how far these go."""
