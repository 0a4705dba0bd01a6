import pytest

from zoo.data.sources.class_weights import read_class_weights
from zoo.errors import ConfigError

CLASSES = ("cat", "dog", "-pig, wild")


def read(tmp_path, text):
    file = tmp_path / "weights.csv"
    file.write_text(text, "utf-8")
    return read_class_weights(file, CLASSES, neutral="Only the ratios count")


@pytest.mark.parametrize("header", ["", "\ufeffclass,weight\r\n", "Class, Weight\n"])
def test_weights_come_in_the_order_of_the_classes(tmp_path, header):
    text = f'{header}dog,2\n\n"\'-pig, wild", 0.5 \ncat,1e1\n'
    assert read(tmp_path, text) == (10, 2, 0.5)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("class,weight\ncat,1\ndgo,1\n", "weights.csv, line 3: the data has no class 'dgo'.", "Did you mean dog?"),
        ("cat,1\ncat,2\n", "line 2: the class 'cat' has a weight already.", "Leave one of the lines out"),
        ("cat,1\ndog,-2\n", "line 2: the weight is -2; it must be a finite number above 0.", "leave its photos out"),
        ("cat,0\n", "line 1: the weight is 0; it must be", "leave its photos out"),
        ("cat,nan\n", "line 1: the weight is nan; it must be a finite number", "cat,2.5"),
        ("cat,inf\n", "line 1: the weight is inf; it must be a finite number", "cat,2.5"),
        ("cat,much\n", "line 1: the weight 'much' is not a number.", "cat,2.5"),
        ("cat,\n", "line 1: the weight '' is not a number.", "cat,2.5"),
        ("cat;2\n", "line 1: there are 1 values, not a class and its weight.", "cat,2.5"),
        ("cat,1\n", "has no weight for 2 of 3 classes: 'dog', '-pig, wild'.", "Only the ratios count"),
        ("", "has no weight for 3 of 3 classes", "Only the ratios count"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message, hint):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "weights.csv").write_bytes(b"cat,\xff\n")
    with pytest.raises(ConfigError, match=r"The class weights .*weights\.csv cannot be read"):
        read_class_weights(tmp_path / "weights.csv", CLASSES, neutral="")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_class_weights(tmp_path / "missing.csv", CLASSES, neutral="")
