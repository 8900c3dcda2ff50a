"""The soak: live load on every role, faults out of a seed, and a ledger of what came out."""
