import tomllib

import pytest

from zoo.utils.toml_file import read_toml, to_toml

TEXT = '''# a comment
title = """
lr = 3
"""
lr = 1

[head_options]  # of the head
# nothing
hidden = [
  1,
  2,
]
"odd key" = 1

[a.b]
c = {d = 1, e = 2}
'''


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (["title"], 2),
        (["lr"], 5),
        (["head_options"], 7),
        (["head_options", "hidden"], 9),
        (["head_options", "odd key"], 13),
        (["a", "b", "c"], 16),
        (["a", "b", "c", "e"], 16),
    ],
)
def test_the_line_of_a_key_is_found(tmp_path, keys, line):
    path = tmp_path / "file.toml"
    path.write_text(TEXT)
    assert read_toml(path).locate(*keys) == f"{path}, line {line}"


def test_a_key_that_is_not_there_has_no_line(tmp_path):
    path = tmp_path / "file.toml"
    path.write_text(TEXT)
    assert read_toml(path).locate("nowhere") == str(path)


def test_values_survive_a_round_trip():
    values = {
        "flag": True,
        "count": 3,
        "rate": 1e-05,
        "huge": 1e300,
        "text": 'quotes " and \\ and \n and \x7f and ä and 😀',
        "names": ["a", "b"],
        "nothing": None,
        "odd key": 1,
        "options": {"hidden": 3, "a.b": "x", "none": None},
        "empty": {},
    }
    text = to_toml(values)
    assert text.isascii()
    expected = {**values, "nothing": "none", "options": {"hidden": 3, "a.b": "x", "none": "none"}}
    assert tomllib.loads(text) == expected


def test_other_values_have_no_form():
    with pytest.raises(TypeError, match="object has no form in TOML"):
        to_toml({"x": object()})
