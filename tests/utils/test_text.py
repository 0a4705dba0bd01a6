"""Tests of text that is safe to print."""

from __future__ import annotations

import pytest

from zoo.utils.text import first_line, one_line, printable, short_repr


def test_control_characters_are_escaped():
    assert printable("a\x1b[31mb\u202ec") == r"a\x1b[31mb\u202ec"
    assert one_line("a\n  b\tc") == "a b c"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "'a'"), ("a" * 99, f"'{'a' * 60}...'"), ([1] * 99, f"{str([1] * 99)[:60]}..."), (None, "None")],
)
def test_a_wrong_value_is_shown_in_one_line_of_moderate_length(value, text):
    assert short_repr(value) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("\n out of range. \nat line 3"), "out of range"),
        (ValueError("out of range."), "out of range"),
        (KeyError(), "KeyError"),
        (ValueError("\n\n"), "ValueError"),
    ],
)
def test_the_first_line_of_an_error_says_what_happened(error, text):
    assert first_line(error) == text
