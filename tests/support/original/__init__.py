"""Programs of a Celery deployment, made anew: what hosts run that have not moved to tixd yet."""
