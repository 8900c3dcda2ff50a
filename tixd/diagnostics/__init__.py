"""Try for real what a role needs before it starts.

A check returns a sentence where all is fine; it raises errors.Unusable, or another error of tixd,
where it is not. Rules: it uses the code of the service; a running tixd, its reports and its queues
are left as they are; what was made for a check is gone after it; no secret is said.
"""
