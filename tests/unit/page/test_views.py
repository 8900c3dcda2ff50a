"""What a page is asked: paths with parameters, and queries of which any part may be nonsense."""

from urllib.parse import quote

import pytest

from tixd.page.views import MAX_PAGE, MAX_SEARCH_CHARACTERS, Page, Query, View

LIST = Page(
    "/list", frozenset(), lambda *_: View("x", "x", {}), "List", {"sort": ("last", "usage")}
)


def asked(text: str) -> Query:
    """The query of a URL as the page takes it."""
    return LIST.query("/list", {}, text, 0.0)


def test_what_the_page_offers_is_taken_as_it_is():
    found = asked("search=12%2F&sort=usage&page=3")
    assert (found.search, found.sort, found.number) == ("12/", "usage", 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sort=x&page=0",
        "sort=&page=-1",
        "page=1e3&sort=%00",
        "page=%D9%A1",
        "a&b=&&&=",
        "%ff=%fe",
    ],
)
def test_whatever_it_does_not_offer_is_the_default(text):
    found = asked(text)
    assert (found.search, found.sort, found.number) == ("", "last", 1)


def test_of_a_long_or_unprintable_search_the_first_printable_characters_are_left():
    assert (
        asked("search=%00%1b[31m" + "a" * 500).search
        == ("[31m" + "a" * 500)[:MAX_SEARCH_CHARACTERS]
    )
    assert asked("page=9999999").number == MAX_PAGE
    assert asked("&".join(f"n{n}=1" for n in range(100)) + "&sort=usage").sort == "last"


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/a/12/x", {"n": "12", "name": "x"}),
        ("/a/1/%2e%2e", {"n": "1", "name": ".."}),
        ("/a/1/b%2Fc%ff", {"n": "1", "name": "b/c\ufffd"}),
        *(("/a/x/x", None), ("/a/1", None), ("/a/1/", None), ("/a/1/x/y", None), ("/b/1/x", None)),
        *(("/a/\u0661/x", None), ("/a/" + "1" * 19 + "/x", None), ("/a/-1/x", None)),
    ],
)
def test_a_path_is_matched_segment_by_segment(path, parameters):
    page = Page("/a/{n:int}/{name}", frozenset(), lambda *_: View("x", "x", {}))
    assert page.match(path) == parameters


@pytest.mark.parametrize("name", ["probe", "a/b", "%00", "ä ö", "<b>"])
def test_a_link_to_a_name_leads_back_to_it(name):
    page = Page("/a/{name}", frozenset(), lambda *_: View("x", "x", {}))
    assert page.match(f"/a/{quote(name, safe='')}") == {"name": name}
