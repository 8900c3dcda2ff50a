"""Settings: declared once, read from command line, environment and files, and checked."""
