"""Kept reports: what is read of folders and archives, and what hostile ones cannot do."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import tracemalloc

import pytest

from tests.support.made import lay_out, made_reports, member, pack
from tixd import bounded, errors
from tixd.reports import archive as module
from tixd.reports.archive import MAX_COMPLAINTS, _Tar, installations
from tixd.reports.spool import MAX_REPORT_BYTES

FEW = made_reports()[:3]


def found(path):
    """Label and number of reports of each folder, relative to the path."""
    return [(f.path.removeprefix(str(path)), len(f.reports())) for f in installations(str(path))]


def archived(folder: str, files=FEW):
    return [member(f"{folder}/{name}", content) for name, content in files]


def test_a_folder_that_holds_reports_is_an_installation_at_whatever_depth(tmp_path):
    lay_out(tmp_path, FEW[:1])
    lay_out(tmp_path / "1" / "10", FEW)
    lay_out(tmp_path / "1" / "2", FEW[:2])
    lay_out(tmp_path / "a" / "b" / "c" / "d", FEW)
    assert found(tmp_path) == [("", 1), ("/1/2", 2), ("/1/10", 3), ("/a/b/c/d", 3)]


def test_reports_of_an_archive_are_grouped_by_folder_in_whatever_order_they_come(tmp_path):
    a, b = archived("1/2"), archived("./1/10/")
    path = pack(tmp_path / "kept.tar.gz", [b[2], a[1], b[0], a[2], a[0], b[1]])
    assert found(path) == [("/1/2", 3), ("/1/10", 3)]
    (first, _) = installations(str(path))
    assert [r.name for r in first.reports()] == [name for name, _ in FEW]


def test_reports_at_the_root_of_an_archive_belong_to_the_archive(tmp_path):
    path = pack(tmp_path / "kept.tar.gz", [member(name, content) for name, content in FEW])
    assert found(path) == [("", 3)]


@pytest.mark.parametrize("folder", ["bad-reports", "failed-results", ".snapshot"])
def test_what_is_no_report_is_passed_over_with_all_below(tmp_path, folder):
    tree = tmp_path / "tree"
    lay_out(tree / "1" / "2" / folder / "rejected", FEW)
    lay_out(tree / "1" / "2" / folder, FEW)
    path = pack(tmp_path / "kept.tar.gz", archived(f"1/2/{folder}") + archived(f"{folder}/1"))
    assert found(tree) == found(path) == []


def test_order_is_that_of_the_second_in_the_name_or_in_the_report(tmp_path):
    (one, two, three) = (content for _, content in FEW)
    names = [("1-tix-log.json", two), (FEW[0][0], one), ("tix-report-1.json", three)]
    (kept,) = installations(str(lay_out(tmp_path, names)))
    assert [r.name for r in kept.reports()] == ["tix-report-1.json", FEW[0][0], "1-tix-log.json"]


def test_bad_reports_are_left_out_with_their_reason_and_the_rest_is_used(tmp_path):
    lay_out(tmp_path, [*FEW, ("tix-report-5.json", b"{}"), ("tix-report-6.json", b"")])
    (kept,) = installations(str(tmp_path))
    assert len(kept.reports()) == 3
    assert kept.left_out == 2
    assert kept.complaints[1].startswith("tix-report-6.json: ")


def test_complaints_about_a_folder_are_bounded_and_the_rest_is_counted(tmp_path):
    lay_out(tmp_path, [(f"tix-report-{n}.json", b"?") for n in range(40)])
    (kept,) = installations(str(tmp_path))
    assert (len(kept.complaints), kept.left_out) == (MAX_COMPLAINTS, 40)


def test_links_fifos_hidden_and_odd_names_are_not_opened(tmp_path):
    elsewhere = lay_out(tmp_path / "elsewhere", FEW)
    tree = lay_out(tmp_path / "tree", [(".hidden.json", FEW[0][1]), ("a.json.tmp", FEW[0][1])])
    (tree / "link.json").symlink_to(elsewhere / FEW[0][0])
    (tree / "folder").symlink_to(elsewhere)
    os.mkfifo(tree / "fifo.json")
    (tree / "folder.json").mkdir()
    (tree / "new\nline.json").write_bytes(FEW[0][1])
    assert found(tree) == []


def test_a_large_file_is_left_out_unread(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "big.json").touch()
    os.truncate(tmp_path / "1" / "big.json", MAX_REPORT_BYTES + 1)
    path = pack(tmp_path / "k.tar.gz", [member("1/big.json", b" " * (MAX_REPORT_BYTES + 1))])
    for place in (tmp_path / "1", path):
        (kept,) = installations(str(place))
        assert kept.complaints == [f"big.json: {MAX_REPORT_BYTES + 1} bytes are more than 1048576"]


def test_a_tree_is_left_as_it_was(tmp_path):
    lay_out(tmp_path / "1" / "2", FEW)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert found(tmp_path) == [("/1/2", 3)]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("folder", ["/etc/cron.d", "../../up", "1/../../2"])
def test_names_that_lead_out_of_an_archive_are_labels_and_nothing_is_written(
    tmp_path, monkeypatch, folder
):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    path = pack(tmp_path / "kept.tar.gz", archived(folder))
    assert found(path) == [("/" + folder.lstrip("/"), 3)]
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_not_read(tmp_path, kind):
    odd = member("1/tix-report-1.json", type=kind, linkname="/etc/passwd")
    assert found(pack(tmp_path / "kept.tar.gz", [odd, *archived("1")])) == [("/1", 3)]


def test_control_characters_in_names_are_escaped_in_labels(tmp_path):
    path = pack(tmp_path / "kept.tar.gz", archived("\x1b[31mred\n\udcff"))
    assert found(path) == [("/\\x1b[31mred\\n\\udcff", 3)]
    assert bounded.printable("Ärger 1/2") == "Ärger 1/2"


def test_of_two_members_with_one_name_the_last_one_counts(tmp_path):
    name = FEW[0][0]
    members = [member(f"1/{name}", FEW[0][1]), member(f"1/{name}", FEW[1][1])]
    ((only,),) = (f.reports() for f in installations(str(pack(tmp_path / "k.tar.gz", members))))
    assert only.first == int(FEW[1][0][11:-5])


def test_what_comes_before_the_damage_of_an_archive_is_used(tmp_path):
    whole = pack(tmp_path / "kept.tar.gz", archived("1", made_reports())).read_bytes()
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(whole[: len(whole) // 2])
    reading = installations(str(path))
    assert 3 < len(next(reading).reports()) < 31
    with pytest.raises(errors.BadArchive, match=r"cut\.tar\.gz"):
        next(reading)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        b"PK\x03\x04",
        gzip.compress(b"x" * 5000, mtime=0),
        b"\x1f\x8b\x08\x00" * 100,
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "odd.tar.gz"
    path.write_bytes(content)
    with pytest.raises(errors.BadArchive):
        list(installations(str(path)))


def raw(path, *headers: bytes):
    """An archive of these header blocks, followed by a good report and by half a gigabyte."""
    good = io.BytesIO()
    with tarfile.open(fileobj=good, mode="w") as archive:
        info, content = archived("1")[0]
        archive.addfile(info, io.BytesIO(content))
    path.write_bytes(gzip.compress(b"".join(headers) + good.getvalue(), 1))
    return path


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_claims_gigabytes_is_not_read(tmp_path, kind):
    info, _ = member("x", type=kind, size=6 * 2**30)
    path = raw(tmp_path / "kept.tar.gz", info.tobuf(tarfile.USTAR_FORMAT))
    with pytest.raises(errors.BadArchive, match="too large"):
        list(installations(str(path)))


def test_a_header_that_leads_backwards_ends_the_reading(tmp_path):
    info, _ = member("1/tix-report-1.json", size=-1024)
    path = raw(tmp_path / "kept.tar.gz", info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(errors.BadArchive):
        list(installations(str(path)))


def test_a_thousand_chained_long_names_end_the_reading(tmp_path):
    info, _ = member("x", type=tarfile.GNUTYPE_LONGNAME, size=512)
    path = raw(tmp_path / "kept.tar.gz", *[info.tobuf(tarfile.GNU_FORMAT) + b"y" * 512] * 3000)
    with pytest.raises(errors.BadArchive):
        list(installations(str(path)))


def headers(kind: bytes, content: bytes, count: int) -> bytes:
    """So many extended headers of this content, one after the other."""
    info, _ = member("x", type=kind, size=len(content))
    padding = bytes(-len(content) % 512)
    return (info.tobuf(tarfile.GNU_FORMAT) + content + padding) * count


def sparse(blocks: int) -> bytes:
    """The header of a sparse file whose list of holes has so many blocks more."""
    info, _ = member("x", type=tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # more follows
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header) + (b"00000000001\0" * 42 + b"\1" + bytes(7)) * blocks


@pytest.mark.parametrize(
    "hostile",
    [
        headers(tarfile.XGLTYPE, b"1000012 a=" + b"x" * 1_000_001 + b"\n", 40),
        headers(tarfile.XHDTYPE, b"1000015 path=" + b"a/" * 500_000 + b"\n", 1),
        headers(tarfile.GNUTYPE_LONGNAME, b"a/" * 500_000, 20),
        sparse(40_000),
    ],
    ids=["global headers", "a name of parts", "long names", "holes"],
)
def test_headers_of_any_kind_and_number_take_little_memory(tmp_path, hostile):
    path = raw(tmp_path / "kept.tar.gz", hostile)
    tracemalloc.start()
    with pytest.raises(errors.BadArchive, match="a header is too large"):
        list(installations(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_global_headers_are_not_remembered_beyond_the_next_file(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(_Tar, "open", noting(_Tar.open, opened))
    note = headers(tarfile.XGLTYPE, b"%d comment=" % 1020 + b"x" * 1006 + b"\n", 1)
    path = raw(tmp_path / "kept.tar.gz", note)
    assert found(path) == [("/1", 1)]
    assert opened[0].pax_headers == {}


def noting(function, results):
    """The function, of which all results are noted."""

    def noted(*arguments, **options):
        results.append(function(*arguments, **options))
        return results[-1]

    return noted


def test_an_archive_of_more_than_can_be_held_ends_after_what_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 2 * len(FEW[0][1]) + 4000)
    path = pack(tmp_path / "kept.tar.gz", archived("1"))
    reading = installations(str(path))
    assert 0 < len(next(reading).reports()) < len(FEW)
    with pytest.raises(errors.BadArchive, match="unpack it, and name the folder"):
        next(reading)


def test_folders_without_a_usable_report_are_held_in_bounds_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 100_000)
    name = FEW[0][0]
    path = pack(tmp_path / "kept.tar.gz", (member(f"{n}/{name}", b"x") for n in range(1000)))
    with pytest.raises(errors.BadArchive, match="unpack it, and name the folder"):
        list(installations(str(path)))


def test_a_file_with_a_name_longer_than_any_files_is_passed_over(tmp_path):
    long = [member(f"{'a/' * 3000}{name}", content) for name, content in FEW]
    assert found(pack(tmp_path / "kept.tar.gz", long + archived("1"))) == [("/1", 3)]


def test_what_is_wrong_with_an_archive_is_told_without_words_of_python(tmp_path):
    (tmp_path / "text").write_bytes(b"no archive" * 100)
    whole = pack(tmp_path / "whole", archived("1")).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "cut"):
        with pytest.raises(errors.BadArchive) as caught:
            list(installations(str(tmp_path / name)))
        assert caught.value.detail == f"{tmp_path / name}: is not gzip, or is damaged or cut short"


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"PK\x03\x04", "is a zip archive"),
        (b"\xfd7zXZ\0", "is an xz archive"),
        (b"\0" * 257 + b"ustar", "is a tar archive without gzip"),
        (b" {}", "is a single report"),
    ],
)
def test_what_is_no_archive_is_named_with_what_to_name_instead(tmp_path, begin, kind):
    (tmp_path / "file").write_bytes(begin + b" " * 1000)
    with pytest.raises(errors.BadArchive, match=kind) as caught:
        list(installations(str(tmp_path / "file")))
    assert re.search(r"name (DIR|its folder, /)", caught.value.detail)


def test_archives_in_a_tree_are_read_and_one_that_is_damaged_is_told(tmp_path):
    pack(tmp_path / "a.tar.gz", archived("1"))
    whole = pack(tmp_path / "b.tar.gz", archived("1")).read_bytes()
    (tmp_path / "b.tar.gz").write_bytes(whole[: len(whole) // 2])
    lay_out(tmp_path / "in", FEW[:1])
    pack(tmp_path / "in" / "c.tgz", archived("2"))
    kept = [(f.path.removeprefix(f"{tmp_path}/"), f.damaged) for f in installations(str(tmp_path))]
    whole_ones = [("a.tar.gz/1", False), ("in", False), ("in/c.tgz/2", False)]
    assert sorted(kept) == sorted([*whole_ones, ("b.tar.gz/1", False), ("b.tar.gz", True)])


def test_the_nearest_description_above_an_installation_is_found(tmp_path):
    lay_out(tmp_path / "tree", [("description.yml", b"top")])
    lay_out(tmp_path / "tree" / "a", FEW)
    lay_out(tmp_path / "tree" / "b", [*FEW, ("description.yml", b"near")])
    members = [member("description.yml", b"top"), member("b/description.yml", b"near")]
    path = pack(tmp_path / "k.tar.gz", archived("b") + members + archived("a/c"))
    for place in (tmp_path / "tree", path):
        assert [f.description for f in installations(str(place))] == [b"top", b"near"]
    (alone,) = installations(str(tmp_path / "tree" / "a"))
    assert alone.description is None


def test_a_folder_that_cannot_be_opened_is_reported_and_its_neighbours_are_used(
    tmp_path, monkeypatch
):
    lay_out(tmp_path / "1" / "2", FEW)
    gone = lay_out(tmp_path / "1" / "1", FEW)
    monkeypatch.setattr("tixd.reports.archive._read_folder", moved_away(gone))
    assert [(f.left_out, len(f.reports())) for f in installations(str(tmp_path))] == [
        (1, 0),
        (0, 3),
    ]


def moved_away(gone):
    """`_read_folder`, but another process takes the folder `gone` away just before it is opened."""
    from tixd.reports.archive import _read_folder

    def reading(folder, kept):
        if folder.path == str(gone.parent):
            names = _read_folder(folder, kept)
            gone.rename(gone.with_name("moved"))
            return names
        return _read_folder(folder, kept)

    return reading


def test_a_path_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(errors.TixdError):
        list(installations(str(tmp_path / "missing")))
