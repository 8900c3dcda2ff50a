"""Which job is due when, who decides that, and how jobs get from a queue to the workers."""
