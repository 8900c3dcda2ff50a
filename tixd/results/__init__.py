"""Results: payload, posting, failed-results, journal."""
