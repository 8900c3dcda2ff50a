"""The AS table: whether it can be used, and how old it is."""

from __future__ import annotations

from datetime import UTC, datetime

from tixd.asn.table import Table


def table(path: str) -> str:
    """Try it; raises BadTable."""
    with Table(path) as opened:
        facts = opened.facts
    built = datetime.fromtimestamp(facts.built, UTC).strftime("%Y-%m-%d")
    return f"{path}: {facts.kind} of {facts.nodes:,} nodes, built {built}"
