"""Report files: list, read, decode, choose windows, quarantine, delete."""
