"""The first page: a word for the whole, each trouble with what to do, and the facts."""

import pytest

from tests.support.page_host import states
from tixd.page import overview
from tixd.page.views import Query

ROLES = states("/nowhere.sqlite")


@pytest.mark.parametrize(
    ("state", "word", "tone"),
    [
        ("well", "Well", "good"),
        ("dispatcher", "Well", "good"),
        ("worker", "Well", "good"),
        ("collector", "Well", "good"),
        ("no history", "Well", "good"),
        ("kept", "Working, but not well", "warn"),
        ("history not written", "Working, but not well", "warn"),
        ("unready", "Not working", "bad"),
        ("broker away", "Not working", "bad"),
        ("nobody works", "Not working", "bad"),
        ("starting", "Starting", "quiet"),
        ("standing by", "Standing by", "quiet"),
    ],
)
def test_one_word_says_how_the_role_is(state, word, tone):
    view = overview.show(Query("/", 0.0), ROLES[state], None)
    assert view.shown["verdict"][:2] == (word, tone)
    assert bool(view.shown["troubles"]) == (tone in ("warn", "bad"))


@pytest.mark.parametrize("state", ROLES)
def test_each_trouble_says_what_to_do_in_words_of_its_own(state):
    found = overview.show(Query("/", 0.0), ROLES[state], None).shown["troubles"]
    assert all(trouble.advice != overview.OTHER_ADVICE for trouble in found)
    assert len({trouble.words for trouble in found}) == len(found)


def test_a_stand_by_names_the_leader_and_has_no_troubles():
    view = overview.show(Query("/", 0.0), ROLES["standing by"], None)
    assert view.shown["verdict"].line.startswith("pid 4711 on otherhost leads")


def test_the_json_has_what_the_status_has_and_the_troubles():
    data = overview.show(Query("/", 0.0), ROLES["kept"], None).data
    assert data["headline"].startswith("running; results have been KEPT")
    assert [trouble["advice"] for trouble in data["troubles"]] == [
        "Nothing is lost: tixd posts them by itself when the tix-api takes them."
    ]
