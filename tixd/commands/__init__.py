"""What is no daemon: one file for each command."""
