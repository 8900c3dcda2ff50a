"""What a spawned worker process runs first.

In: what a seat hands to the worker. Out: nothing. Rules: the worker is imported in its own process
alone, so that the parent, which names this function, never loads numpy and the HTTP library.
"""

from __future__ import annotations

from tixd.config.settings import Settings


def main(endpoint: str, identity: bytes, settings: Settings) -> None:
    """Be a worker; see worker.main."""
    from tixd.pool import worker_main  # noqa: PLC0415 - see above

    worker_main.main(endpoint, identity, settings)
