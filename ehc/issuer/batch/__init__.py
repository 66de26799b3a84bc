"""Whole provinces: people imported and exported in bulk, as CSV.

A file is cut into pieces on the borders of its records (`reading.py`). Each piece is prepared (`preparing.py`), sealed
(`sealing.py`) and written by one worker in one transaction, together with the row that says it was (`writing.py`): a kill
at any point leaves each piece all or nothing, and the same command again does what is missing. Workers are processes of
their own (`pool.py`, `worker.py`); an import that came over the API is a job of one thread (`tasks.py`).
"""
