"""The package that `celery -A processor.tasks` finds where this folder is on the path."""
