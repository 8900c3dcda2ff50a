"""What a role needs, tried for real before it starts; one module for each kind of thing.

In: the settings. Out: a sentence where it is fine; errors.Unusable, or another error of tixd, where
it is not. Rules: it is tried with the code that the service uses; a tixd that runs, its reports and
its queues are left as they are; what was made for a try is gone after it; no secret is said.
"""
