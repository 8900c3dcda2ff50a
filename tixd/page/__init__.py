"""The page: what people see of a role in a browser, and programs as JSON and CSV."""
