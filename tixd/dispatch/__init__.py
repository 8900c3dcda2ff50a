"""Who gets which job, and the worker processes that do them."""
