"""Simulated measurements whose truth is known: a line, packets over it, report files."""
