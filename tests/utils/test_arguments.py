import inspect
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.utils.arguments import DICT, FLAG, FUNCTION, LIST, NAMES, NUMBER, PATH, TEXT, WHOLE_NUMBER, Accepted, accepts


@accepts(name=TEXT, count=WHOLE_NUMBER | None)
def greet(name: str, *, count: int | None = None, other: object = None) -> str:
    """Greets."""
    return f"{name}, {count}, {other}"


def test_arguments_of_the_accepted_types_are_passed_on():
    assert greet("a") == "a, None, None"
    assert greet(name="a", count=3, other=object) == f"a, 3, {object}"
    assert greet("a", count=np.int64(3)) == "a, 3, None"


def test_another_type_is_an_error_that_says_what_to_pass():
    with pytest.raises(ConfigError) as caught:
        greet(3)
    assert str(caught.value) == "greet: argument 'name' cannot be of type int.\nPass text."
    with pytest.raises(ConfigError) as caught:
        greet("a", count="3")
    assert str(caught.value) == "greet: argument 'count' cannot be of type str.\nPass a whole number or None."


def test_the_signature_and_its_errors_are_those_of_the_function():
    assert list(inspect.signature(greet).parameters) == ["name", "count", "other"]
    assert greet.__doc__ == "Greets."
    for call in (lambda: greet(), lambda: greet("a", "b"), lambda: greet("a", nothing=1)):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize(
    ("accepted", "good", "bad"),
    [
        (TEXT, ["", "a"], [None, b"a", 1, Path("a")]),
        (PATH, ["a", Path("a")], [None, b"a", 1, ["a"]]),
        (FLAG, [True, False], [None, 1, "yes"]),
        (WHOLE_NUMBER, [0, -1, np.int32(2)], [True, 1.0, "1", None]),
        (NUMBER, [0, 1.5, np.float32(2)], [True, "1", None]),
        (FUNCTION, [print, lambda: None, dict], [None, "print", 1]),
        (DICT, [{}, {"a": 1}], [None, [], "a", {1: "a"}]),
        (NAMES, [[], ("a", "b")], [None, "abc", {"a"}, [1], ["a", None]]),
        (NAMES | None, [None, ["a"]], ["a", [None]]),
        (LIST, [[], (), range(3)], [None, "abc", b"abc", {}, {1}, 3]),
        (TEXT | Accepted("a dict", (dict,)) | None, ["a", {}, None], [1, []]),
    ],
)
def test_what_is_accepted(accepted, good, bad):
    assert [value for value in good if not accepted.matches(value)] == []
    assert [value for value in bad if accepted.matches(value)] == []
