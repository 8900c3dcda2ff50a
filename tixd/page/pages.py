"""The table of pages: which path shows what, and which roles have it."""

from __future__ import annotations

from collections.abc import Mapping

from tixd.page import (
    installation_detail,
    installation_list,
    network_list,
    overview,
    sender_pages,
    words,
)
from tixd.page.views import Page

#: Roles that schedule, and so have a history of results and cycles.
SCHEDULING = frozenset({"standalone", "dispatcher"})

#: The role that receives records.
COLLECTING = frozenset({"collector"})

#: Every role.
ALL = frozenset({*SCHEDULING, *COLLECTING, "worker"})

#: Every page, in the order of the menu.
PAGES = (
    Page("/", ALL, overview.show, "Overview"),
    Page(
        "/installations",
        SCHEDULING,
        installation_list.show,
        "Installations",
        {"sort": tuple(installation_list.SORTS)},
    ),
    Page(
        "/installations/{user:int}/{installation:int}",
        SCHEDULING,
        installation_detail.show,
        choices={"span": tuple(installation_detail.SPANS)},
    ),
    Page("/as", SCHEDULING, network_list.show, "Networks"),
    Page("/failed", SCHEDULING, installation_list.show_failed, "Not posted"),
    Page("/words", SCHEDULING, words.show),
    Page("/cycles", SCHEDULING, overview.show_cycles, "Cycles"),
    Page("/collector", COLLECTING, sender_pages.show, "Collector"),
    *sender_pages.pages_of_one(COLLECTING),
)


def of_role(role: str) -> list[Page]:
    """Return the pages that this role has."""
    return [page for page in PAGES if role in page.roles]


def find(role: str, path: str) -> tuple[Page, Mapping[str, str]] | None:
    """Return the page under a path, percent-encoded, and the parameters in it; None: no page."""
    for page in of_role(role):
        parameters = page.match(path)
        if parameters is not None:
            return page, parameters
    return None
