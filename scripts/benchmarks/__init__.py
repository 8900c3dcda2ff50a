"""Parts of scripts/bench: each measures one thing several times, with the yardstick between."""
