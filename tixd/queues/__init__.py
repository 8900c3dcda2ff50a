"""Where jobs wait: one contract, several places."""
