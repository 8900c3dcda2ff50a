"""The README's table of settings is the one that the code makes."""

from pathlib import Path

from tixd import values

README = Path(__file__).parents[2] / "README.md"

MAKE = "python -c 'from tixd import values; print(values.settings_table())'"


def test_the_readme_and_the_code_agree_on_the_settings():
    text = README.read_text(encoding="utf-8")
    _, _, after = text.partition("<!-- settings -->\n")
    table, end, _ = after.partition("\n<!-- /settings -->")
    assert end, "the README has no table between its markers"
    assert table == values.settings_table(), f"put the output of this into the README: {MAKE}"


def test_the_table_has_a_row_for_every_setting():
    table = values.settings_table()
    assert table.count("\n") == len(values.FIELDS) + 1
    assert "| `TIX_WORKERS` | `workers` | `0` | processes |" in table
    assert "| `TIX_RABBITMQ_PASS` | `rabbitmq.password` | `guest` |" in table


def test_no_two_settings_share_a_variable_or_a_key():
    for fact in ("env", "key"):
        names = [field.metadata[fact] for field in values.FIELDS.values()]
        assert len(set(names)) == len(names)


def test_every_default_is_a_value_that_could_be_given():
    for name in values.FIELDS:
        default = values.default(name)
        if not values.is_secret(name):
            assert values.checked(name, default, strict=True) == default
