"""Source files: packed or plain, with comments, with nonsense in them."""

from __future__ import annotations

import gzip
import lzma
import re
import tracemalloc

import pytest

from tests.support.tables import NAMES, PREFIXES, quiet
from tixd import errors
from tixd.asn import sources
from tixd.asn.sources import Entries, read_file


def read(path):
    entries = Entries()
    return read_file(entries, str(path), quiet), entries


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_plain_gzip_and_xz_files_say_the_same(tmp_path, pack):
    path = tmp_path / "source"
    path.write_bytes(pack(("; made by pyasn\n\n" + PREFIXES).encode()))
    kind, entries = read(path)
    assert kind == "prefixes"
    assert {version: len(ranges) for version, ranges in entries.ranges.items()} == {4: 4, 6: 1}
    assert next(iter(entries.values)) == (15169, None, None)


def test_names_come_from_a_file_of_their_own_and_the_first_one_counts(tmp_path):
    (tmp_path / "names").write_text(NAMES + "7303\tAnother\n")
    kind, entries = read(tmp_path / "names")
    assert (kind, entries.names[7303]) == ("names", "Telecom Argentina S.A.")


def test_a_name_of_another_encoding_is_no_reason_to_stop(tmp_path):
    (tmp_path / "names").write_bytes("7303\tTelef\xf3nica\r\n".encode("latin-1"))
    assert read(tmp_path / "names")[1].names == {7303: "Telef\N{REPLACEMENT CHARACTER}nica"}


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    (tmp_path / "prefixes").write_bytes(b"\xef\xbb\xbf8.8.8.0/24 15169\r\n")
    assert len(read(tmp_path / "prefixes")[1].ranges[4]) == 1


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n \n# nothing\n", b"<html><body>not found\n", bytes(range(256))),
        *(
            gzip.compress(PREFIXES.encode() * 99, mtime=0)[:-20],
            lzma.compress(PREFIXES.encode())[:-20],
        ),
        *(b"\x1f\x8b" + b"x" * 99, b"\xfd7zXZ\x00" + b"x" * 99),
        b"8.8.8.0/24 15169\nnonsense\n",
    ],
)
def test_a_file_that_is_no_source_or_damaged_is_refused(tmp_path, content):
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(errors.BadSource, match=str(tmp_path)):
        read(tmp_path / "source")


def refused(path):
    """Why a source is refused, without its path."""
    with pytest.raises(errors.BadSource) as caught:
        read(path)
    return caught.value.detail.removeprefix(f"{path}: ")


def test_an_unknown_header_is_refused_with_the_shapes_that_are_known(tmp_path):
    (tmp_path / "source").write_text("network,geoname_id\n1.0.0.0/24,7\n")
    reason = refused(tmp_path / "source")
    assert reason.startswith('"network,geoname_id": not a line of a known format: ')
    for shape in ("PREFIX ASN", "FIRST,LAST,ASN,NAME", "ASN NAME", "network", "start_ip"):
        assert shape in reason


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_table_that_needs_no_building_is_sent_to_its_setting(tmp_path, pack):
    (tmp_path / "source").write_bytes(pack(b"\0\0x\0\1\xffGeoLite2-ASN\n"))
    assert refused(tmp_path / "source").startswith("is not text: an MMDB file needs no building")


def test_a_file_with_a_header_is_read_by_it(tmp_path):
    (tmp_path / "source").write_text("network,asn,as_name\r\n8.8.8.0/24,AS15169,Google\r\n")
    kind, entries = read(tmp_path / "source")
    assert (kind, list(entries.values)) == ("header", [(15169, "Google", None)])
    assert entries.ranges[4][0][:2] == (0x08080800, 0x080808FF)


def test_a_column_of_something_else_is_no_as_number(tmp_path):
    (tmp_path / "source").write_text("1.0.0.0,1.0.0.255,8.8.8.0,x\n1.0.1.0,1.0.1.255,8.8.8,x\n")
    assert refused(tmp_path / "source") == (
        '2 of 2 lines cannot be parsed, as "1.0.0.0 1.0.0.255 8.8.8.0 x": not an AS number'
    )


def test_damage_is_told_in_plain_words(tmp_path):
    for content in (gzip.compress(b"x" * 99)[:-5], b"\x1f\x8b" + b"x" * 99, b"\xfd7zXZ\0x"):
        (tmp_path / "source").write_bytes(content)
        assert refused(tmp_path / "source") == "is damaged or truncated"
    assert refused(tmp_path / "none") == "No such file or directory"
    assert refused(f"{tmp_path}/a\0b") == "a path cannot contain a null character"


def test_a_line_of_any_length_is_one_bad_line_and_takes_no_memory(tmp_path):
    lines = [f"10.{n >> 8}.{n & 255}.0/24 {n + 1}\n" for n in range(300)]
    with gzip.open(tmp_path / "source", "wt", compresslevel=1) as file:
        file.writelines(lines)
        file.write("9.0.0.0/24 64500 ")
        for _ in range(64):
            file.write("x" * (1 << 20))
        file.write("\n9.0.1.0/24 64500\n")
    tracemalloc.start()
    _, entries = read(tmp_path / "source")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(entries.ranges[4]), entries.left_out) == (301, 1)
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("MAX_LINES", "8.8.8.0/24 15169\n" * 9),
        ("MAX_LINES", "8.8.8.0/24 15169\n" + "# nothing\n" * 9),
        ("MAX_VALUES", "".join(f"8.8.8.0/24 {n}\n" for n in range(1, 10))),
        ("MAX_VALUES", "".join(f"{n} name\n" for n in range(1, 10))),
    ],
)
def test_more_than_any_table_has_is_refused(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(sources, name, 8)
    (tmp_path / "source").write_text(content)
    assert re.match("more than 8 (lines|different)", refused(tmp_path / "source"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(errors.BadSource, match=str(path)):
            read(path)


def test_a_few_lines_of_nonsense_are_left_out_and_counted(tmp_path):
    lines = [f"10.{n >> 8}.{n & 255}.0/24 {n + 1}" for n in range(300)]
    (tmp_path / "prefixes").write_text("\n".join([*lines, "x", "y/24 1", '"', ""]))
    _, entries = read(tmp_path / "prefixes")
    assert (len(entries.ranges[4]), entries.left_out) == (300, 3)


def test_how_far_the_reading_is_can_be_told(tmp_path):
    path = tmp_path / "prefixes"
    path.write_text("8.8.8.0/24 15169\n" * 50_000)
    told = []
    read_file(Entries(), str(path), lambda done, total: told.append((done, total)))
    size = path.stat().st_size
    assert [total for _, total in told] == [size] * len(told)
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == (size, size)
