"""failed-results: what is kept survives a kill, a full disk and odd files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.results import DOWN, UP, result
from tixd import errors
from tixd.analysis.summary import Direction, Summary
from tixd.directory import Folder
from tixd.reports.decode import source_address
from tixd.results.failed_results import MAX_BYTES, FailedResults
from tixd.results.payload import WindowResult, failed_report

NAME = "failed-report-1505082407.json"


@pytest.fixture
def kept(tmp_path):
    """The outbox of an installation in tmp_path."""
    with Folder(str(tmp_path)) as folder, FailedResults(folder) as opened:
        yield opened


@pytest.fixture
def failed(tmp_path) -> Path:
    """The failed-results folder, made as another program would."""
    folder = tmp_path / "failed-results"
    folder.mkdir()
    return folder


def test_the_folder_is_made_only_when_something_is_stored(kept, tmp_path):
    assert kept.oldest(10) == []
    assert os.listdir(tmp_path) == []
    assert kept.add(result()) == NAME
    assert os.listdir(tmp_path / "failed-results") == [NAME]


def test_a_stored_result_is_read_back_equal(kept):
    assert kept.load(kept.add(result())) == result()


def test_an_equal_result_is_stored_once(kept):
    assert [kept.add(result()) for _ in range(3)] == [NAME] * 3
    assert kept.oldest(10) == [NAME]


def test_a_taken_name_gets_a_suffix_and_keeps_its_content(kept):
    others = [WindowResult(f"10.0.0.{n}", Summary(1505082407, UP, DOWN)) for n in range(3)]
    names = [kept.add(other) for other in others]
    assert names == [NAME, "failed-report-1505082407-1.json", "failed-report-1505082407-2.json"]
    assert [kept.load(name) for name in names] == others
    assert kept.add(others[2]) == names[2]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("nowhere", path)])
def test_a_name_taken_by_something_else_is_left_alone(kept, failed, make):
    make(failed / NAME)
    before = (failed / NAME).lstat()
    assert kept.add(result()) == "failed-report-1505082407-1.json"
    assert (failed / NAME).lstat() == before
    assert kept.oldest(10) == ["failed-report-1505082407-1.json"]


def test_results_come_oldest_first_by_number_and_not_by_text(kept, failed):
    ordered = ["9", "10", "10-1", "10-2", "10-10", "1505082407", "1505082408"]
    for stem in reversed(ordered):
        (failed / f"failed-report-{stem}.json").write_bytes(b"")
    assert kept.oldest(100) == [f"failed-report-{stem}.json" for stem in ordered]
    assert kept.oldest(2) == ["failed-report-9.json", "failed-report-10.json"]


@pytest.mark.parametrize(
    "name",
    [
        *("failed-report-7.json.tmp", "failed-report-7.json~", ".failed-report-7.json"),
        *("failed-report-.json", "failed-report-x.json", "failed-report-7-.json"),
        *("failed-report--7.json", "failed-report-7.JSON", "failed-report-\u0667.json"),
        *("failed-report-99999999999.json", "tix-report-7.json", "failed-report-7.json\n"),
    ],
)
def test_names_that_are_not_ours_are_ignored(kept, failed, name):
    (failed / name).write_bytes(failed_report(result()))
    assert kept.oldest(10) == []


def test_a_leftover_temporary_file_of_a_kill_does_no_harm(kept, failed):
    (failed / f"{NAME}.tmp").write_bytes(failed_report(result())[:40])
    assert kept.oldest(10) == []
    assert kept.load(kept.add(result())) == result()
    assert os.listdir(failed) == [NAME]


def test_a_kill_between_writing_and_renaming_leaves_nothing_under_the_name(kept, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", kill)
        with pytest.raises(Killed):
            kept.add(result())
    assert kept.oldest(10) == []
    assert kept.load(kept.add(result())) == result()


def test_a_result_is_on_disk_before_it_has_its_name_and_its_folder_after(kept, monkeypatch):
    calls: list[str] = []
    for name in ("write", "fsync", "rename", "mkdir"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, _n=name, _r=real, **k: (calls.append(_n), _r(*a, **k))[1]
        )
    kept.add(result())
    assert calls == ["mkdir", "fsync", "write", "fsync", "rename", "fsync"]


def test_a_result_that_is_already_stored_is_made_to_last_all_the_same(kept, monkeypatch):
    kept.add(result())
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    kept.add(result())
    assert len(calls) == 1


def test_on_a_full_disk_nothing_is_stored_and_nothing_is_left(kept, failed, monkeypatch):
    def full(fd: int, content: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.DiskFull):
        kept.add(result())
    assert os.listdir(failed) == []


def test_a_link_in_place_of_the_folder_is_not_followed(kept, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "failed-results").symlink_to("elsewhere")
    with pytest.raises(errors.UnexpectedFileType):
        kept.add(result())
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_removed_result_is_gone_and_may_be_gone_already(kept):
    name = kept.add(result())
    kept.remove(name)
    kept.remove(name)
    assert kept.oldest(10) == []


def test_a_parked_result_lies_in_rejected_and_overwrites_nothing(kept, tmp_path):
    rejected = tmp_path / "failed-results" / "rejected"
    for number in (1, 2):
        kept.reject(kept.add(result(ip=f"10.0.0.{number}")))
    assert sorted(os.listdir(rejected)) == ["failed-report-1505082407-1.json", NAME]
    assert (rejected / NAME).read_bytes() == failed_report(result(ip="10.0.0.1"))
    assert kept.oldest(10) == []


def test_a_file_too_large_for_a_result_is_bad_without_being_read_whole(kept, failed):
    (failed / NAME).write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(errors.BadFailedResult):
        kept.load(NAME)


def test_a_result_that_is_gone_has_vanished(kept, failed):
    with pytest.raises(errors.NotFound):
        kept.load(NAME)


def test_however_many_results_wait_one_listing_finds_the_oldest(kept, failed, monkeypatch):
    listings: list[int] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda fd: (listings.append(fd), real(fd))[1])
    for number in range(3000):
        (failed / f"failed-report-{9000 - number}.json").touch()
    assert kept.oldest(2) == ["failed-report-6001.json", "failed-report-6002.json"]
    assert len(listings) == 1


def test_results_that_may_not_be_read_hide_none_of_those_behind_them(kept, failed, monkeypatch):
    for number in range(1000, 1100):
        (failed / f"failed-report-{number}.json").touch()
    good = ["failed-report-1098.json", "failed-report-1099.json"]
    monkeypatch.setattr(os, "access", lambda name, *_, **__: name in good)
    assert kept.oldest(5) == good
    assert (len(kept.not_permitted), kept.not_permitted[0]) == (
        98,
        "failed-report-1000.json",
    )


def test_whether_results_can_be_removed_is_known_beforehand(kept, failed, monkeypatch):
    assert kept.is_writable()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert not kept.is_writable()


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 10**9])
def test_a_result_that_is_too_long_is_told_with_its_size_and_the_limit(kept, failed, size):
    with (failed / NAME).open("wb") as file:
        file.truncate(size)
    with pytest.raises(errors.BadFailedResult, match=f"{size:,} bytes, at most 65,536 are read"):
        kept.load(NAME)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.none() | st.floats(), min_size=8, max_size=8),
    st.text().map(lambda text: f"{text}:4500"),
)
def test_whatever_reports_can_give_is_stored_so_that_it_can_be_read(kept, second, values, text):
    try:
        source = source_address(text)
    except errors.BadReport:
        return
    up, down = Direction(*values[:4]), Direction(*values[4:])
    stored = kept.load(kept.add(WindowResult(source, Summary(second, up, down))))
    assert (stored.ip, stored.summary.timestamp) == (source, second)


@pytest.mark.parametrize("odd", [result(-1), result(2**32), result(ip=""), result(ip="x" * 65536)])
def test_what_could_not_be_read_again_is_never_stored(kept, tmp_path, odd):
    with pytest.raises(errors.BadFailedResult):
        kept.add(odd)
    assert os.listdir(tmp_path) == []
