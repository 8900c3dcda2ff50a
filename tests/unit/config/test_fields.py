"""Settings as they are declared: no two share a name, and every default is allowed."""

import pytest

from tixd.config.values import COLLECTOR, PROCESSING, SHAPES


@pytest.mark.parametrize("table", [PROCESSING, COLLECTOR])
def test_no_two_settings_share_a_variable_or_a_key(table):
    for fact in ("env", "key"):
        names = [table.facts(name)[fact].lower() for name in table.fields]
        assert len(set(names)) == len(names)


def test_every_default_is_a_value_that_could_be_given():
    for name, field in PROCESSING.fields.items():
        if not PROCESSING.is_secret(name):
            assert PROCESSING.check(name, field.default, strict=True) == field.default


@pytest.mark.parametrize("table", [PROCESSING, COLLECTOR])
def test_every_shape_that_a_setting_names_is_checked(table):
    shapes = {table.facts(name).get("shape", "duration") for name in table.fields}
    assert shapes - SHAPES.keys() <= {"duration"}
