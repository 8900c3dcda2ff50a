"""Report files: list, read, decode, choose windows, set aside, delete."""
