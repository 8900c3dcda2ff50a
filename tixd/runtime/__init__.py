"""What a long-running role needs of its process: signals, rights, tasks, HTTP, control socket."""
