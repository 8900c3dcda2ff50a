"""The soak: one seed gives one plan; its ledger, its judge and its damage are as they should be."""

from __future__ import annotations

import re
from random import Random

import pytest
from soaking import command, load, plan, tables, world
from soaking.account import Account, Disturbance, settle
from soaking.cut import CutAt
from soaking.kinds import FAULTS, KINDS, generators
from soaking.mutate import MAX_BYTES, mutated
from soaking.watch import Look, judge

from tests.support import case_tables, waves
from tests.support.ledger import on_disk
from tests.support.manual_pages import ROOT

ROLES = ("standalone", "hosts", "collector")


@pytest.mark.parametrize("role", ROLES)
def test_one_seed_gives_one_plan_and_another_gives_another(role):
    plans = [plan.planned(FAULTS, role, seed, 10) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


@pytest.mark.parametrize("role", ROLES)
def test_an_hour_does_every_fault_of_a_role_and_ends_no_process_in_its_second_half(role):
    first, second = plan.planned(FAULTS, role, 7, 60)
    own = {fault.name for fault in FAULTS if role in fault.roles}
    assert {one.fault.name for one in first} == own
    assert {one.fault.name for one in second} == {
        f.name for f in FAULTS if f.name in own and not f.ends
    }
    assert len(second) >= 60 * 60 / 2 / (plan.MIN_STEP_SECONDS + 1)


def test_a_text_that_is_in_no_name_is_told_before_anything_begins(capsys):
    assert command.main(["1", "--role", "collector", "--fault", "two gigabytes"]) == 2
    assert "no fault of these roles has 'two gigabytes' in its name" in capsys.readouterr().err
    assert command.main(["1", "--list", "--fault", "two gigabytes"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(ROLES[:2])


def test_the_soak_calls_every_event_broken_that_the_manual_calls_a_fault_of_tixd():
    rows = (ROOT / "tixd/manual/troubleshooting.md").read_text().splitlines()
    faults = [row for row in rows if row.rstrip("| ").endswith("please report the line")]
    assert {event for row in faults for event in re.findall("`([a-z_]+)`", row.split("|")[1])} == (
        world.FAULTS_OF_TIXD
    )


def test_no_two_faults_have_one_name_and_each_role_has_many():
    for role in ROLES:
        names = [fault.name for fault in FAULTS if role in fault.roles]
        assert len(set(names)) == len(names) > 25


def test_every_kind_of_fault_has_a_generator():
    assert [kind for kind, made in generators().items() if not made] == []
    assert len(KINDS) > 50


def test_every_row_of_the_list_of_faults_has_a_test_that_is_there():
    rows = [f"faults {n}" for n in range(1, 35)] + [f"G{n}" for n in range(1, 15)]
    assert list(case_tables.TESTS) == rows
    there = "\n".join(
        f"{path.stem}::{line}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for line in re.findall(r"def test_(\w+)", path.read_text())
    )
    assert [test for test in case_tables.TESTS.values() if test not in there] == []


@pytest.mark.parametrize("reports", range(11))
def test_the_load_knows_which_windows_its_reports_give(tmp_path, reports):
    (tmp_path / "3" / "1").mkdir(parents=True)
    waves.write(tmp_path, [(3, 1)], range(reports))
    assert load.windows(3, 1, reports) == list(on_disk(tmp_path))


def settled(taken: str, sent: str = "abc", held: str = "", *faults: Disturbance) -> Account:
    """An account; a small letter is a key whose answer was heard, a capital one was not."""
    account = Account("keys")
    heard = [(key.lower(), key.islower()) for key in taken]
    settle(account, set(sent), heard, set(held), faults)
    return account


def test_a_ledger_that_is_even_has_no_problem():
    account = settled("abc")
    assert (account.sent, account.taken, account.lost, account.problems) == (3, 3, 0, [])


def test_what_is_neither_taken_nor_held_is_lost():
    assert settled("ab").lost == 1
    assert settled("ab").problems == ["lost: c"]


def test_what_is_held_at_the_end_is_not_lost_and_yet_a_problem():
    account = settled("ab", "abc", "c")
    assert (account.lost, account.held_at_end) == (0, 1)
    assert account.problems == ["still held back after the drain: c"]


def test_what_was_never_sent_is_a_problem():
    assert settled("abcd").problems == ["never sent: d"]


def test_a_repeat_without_a_fault_is_a_problem_and_one_without_an_answer_is_none():
    assert settled("abca").problems == ["repeated without a fault: a, posts 0 and 3"]
    account = settled("Abca")
    assert (account.repeated, account.unanswered, account.problems) == (1, 1, [])


def test_a_fault_explains_as_many_repeats_as_may_be_in_flight():
    assert settled("abca", "abc", "", Disturbance("kill", 1, 2, 1)).problems == []
    many = settled("abcab", "abc", "", Disturbance("kill", 1, 3, 1))
    assert many.problems == ["kill repeated 2, of 1 that may be in flight"]
    assert many.repeated_by == {"kill": 2}


def test_a_repeat_is_that_of_an_earlier_fault_where_the_last_one_has_had_its_own():
    kill, journal = Disturbance("kill", 1, 1, 4), Disturbance("journal", 2, 2, 1)
    account = settled("abcab", "abc", "", kill, journal)
    assert (account.repeated_by, account.problems) == ({"journal": 1, "kill": 1}, [])


def test_a_fault_gets_no_repeat_that_an_earlier_one_can_have_where_it_has_one_of_its_own():
    reset, answers = Disturbance("reset", 1, 2, 1), Disturbance("answers", 3, 4, 1)
    account = settled("xaybab", "abxy", "", reset, answers)
    assert (account.repeated_by, account.problems) == ({"reset": 1, "answers": 1}, [])


def test_a_fault_after_the_repeat_or_before_its_first_post_explains_nothing():
    assert settled("abca", "abc", "", Disturbance("kill", 4, 5, 9)).problems != []
    assert settled("cabb", "abc", "", Disturbance("kill", 0, 1, 9)).problems != []


def life(*megabytes: int, descriptors: int = 20) -> list[Look]:
    """A life of ten looks at each of these sizes."""
    sizes = [size for size in megabytes for _ in range(10)]
    return [Look(n, size * 2**20, descriptors, 4) for n, size in enumerate(sizes)]


def test_memory_that_grows_after_the_first_tenth_is_a_problem():
    assert judge("p", life(50, 60, *[60] * 8), min_looks=10).problems == ()
    (problem,) = judge("p", life(50, 60, *[60] * 7, 67), min_looks=10).problems
    assert problem == "p: memory 60.0 -> 67.0 MB"


def test_descriptors_that_grow_are_a_problem_and_a_short_life_is_not_judged():
    looks = [*life(50), *life(50, 50, 50, 50), *life(50, descriptors=90)]
    assert judge("p", looks, min_looks=10).problems == ("p: descriptors 20 -> 90",)
    short = judge("p", looks)
    assert (short.judged, short.problems) == (False, ())


def test_a_cut_lets_through_so_many_bytes_and_says_that_it_acted():
    cut = CutAt(5)
    assert (cut(b"abc"), cut.acted) == (b"abc", False)
    assert (cut(b"defg"), cut.acted) == (b"de", True)
    assert cut(b"h") == b""


def test_damage_comes_out_of_the_seed_and_is_bounded():
    corpus = [b"abc" * 100, b"<a/>"]
    made = [[mutated(Random(seed), corpus) for _ in range(1)] for seed in range(300)]
    assert made == [[mutated(Random(seed), corpus) for _ in range(1)] for seed in range(300)]
    assert len({data for (data,) in made}) > 250
    assert max(len(data) for (data,) in made) <= MAX_BYTES


def test_the_tables_tell_of_each_ledger_fault_and_process():
    account = settled("abca", "abc", "", Disturbance("kill", 1, 2, 1)).figures()
    growth = {"kind": "worker", "looks": 9, "judged": True, "rss_mb": (1.0, 2.0)}
    growth |= {"descriptors": (3, 4), "threads": (5, 6), "most_rss_mb": 7.0}
    fault = {"acted": 1, "done": 2, "recovery_seconds": 0.5, "proof": "pid gone" * 20}
    report = {"role": "hosts", "seed": 1, "minutes": 2.0, "accounts": [account]}
    report |= {"faults": {"kill": fault}, "growths": [growth], "figures": {"x": 1}}
    text = "\n".join(tables.lines([report]))
    assert all(words in text for words in ("keys", "kill", "1.0 -> 2.0", "x: 1", "2 faults of 1"))
    assert max(map(len, text.splitlines())) < 160
