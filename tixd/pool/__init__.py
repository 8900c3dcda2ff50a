"""Worker processes, and the parent's side of them."""
