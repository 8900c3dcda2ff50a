"""The README's table of keys is the one that the code makes."""

from pathlib import Path

from tixd.collector import kinds

README = Path(__file__).parents[3] / "README.md"

MAKE = "python -c 'from tixd.collector import kinds; print(kinds.key_table())'"


def test_the_readme_and_the_code_agree_on_the_keys() -> None:
    _, _, after = README.read_text(encoding="utf-8").partition("<!-- keys -->\n")
    table, end, _ = after.partition("\n<!-- /keys -->")
    assert end, "the README has no table between its markers"
    assert table == kinds.key_table(), f"put the output of this into the README: {MAKE}"
