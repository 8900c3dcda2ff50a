"""Made-up measurements whose truth is known: a line with a queue, probes over it, report files."""
