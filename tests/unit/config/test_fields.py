"""Settings as they are declared: no two share a name, and every default is allowed."""

from tixd.config.values import PROCESSING


def test_no_two_settings_share_a_variable_or_a_key():
    for fact in ("env", "key"):
        names = [field.metadata[fact] for field in PROCESSING.fields.values()]
        assert len(set(names)) == len(names)


def test_every_default_is_a_value_that_could_be_given():
    for name in PROCESSING.fields:
        default = PROCESSING.fields[name].default
        if not PROCESSING.is_secret(name):
            assert PROCESSING.check(name, default, strict=True) == default
