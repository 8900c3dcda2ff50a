"""The history: what became of each result and cycle, in one SQLite file."""
