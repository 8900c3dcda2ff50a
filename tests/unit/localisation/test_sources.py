"""Source files: packed or plain, with comments, with nonsense in them."""

from __future__ import annotations

import gzip
import lzma

import pytest

from tests.support.tables import NAMES, PREFIXES, quiet
from tixd import errors
from tixd.localisation.sources import Harvest, harvest_file


def read(path):
    harvest = Harvest()
    return harvest_file(harvest, str(path), quiet), harvest


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_plain_gzip_and_xz_files_say_the_same(tmp_path, pack):
    path = tmp_path / "source"
    path.write_bytes(pack(("; made by pyasn\n\n" + PREFIXES).encode()))
    kind, harvest = read(path)
    assert kind == "prefixes"
    assert {version: len(ranges) for version, ranges in harvest.ranges.items()} == {4: 4, 6: 1}
    assert next(iter(harvest.values)) == (15169, None, None)


def test_names_come_from_a_file_of_their_own_and_the_first_one_counts(tmp_path):
    (tmp_path / "names").write_text(NAMES + "7303\tAnother\n")
    kind, harvest = read(tmp_path / "names")
    assert (kind, harvest.names[7303]) == ("names", "Telecom Argentina S.A.")


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


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(errors.BadSource, match=str(path)):
            read(path)


def test_a_few_lines_of_nonsense_are_left_out_and_counted(tmp_path):
    lines = [f"10.{n >> 8}.{n & 255}.0/24 {n + 1}" for n in range(300)]
    (tmp_path / "prefixes").write_text("\n".join([*lines, "x", "y/24 1", '"', ""]))
    _, harvest = read(tmp_path / "prefixes")
    assert (len(harvest.ranges[4]), harvest.left_out) == (300, 3)


def test_how_far_the_reading_is_can_be_told(tmp_path):
    path = tmp_path / "prefixes"
    path.write_text("8.8.8.0/24 15169\n" * 50_000)
    told = []
    harvest_file(Harvest(), str(path), lambda done, total: told.append((done, total)))
    size = path.stat().st_size
    assert [total for _, total in told] == [size] * len(told)
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == (size, size)
