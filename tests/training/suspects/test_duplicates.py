from zoo.data.check.report import CheckedPhoto, DuplicatePair
from zoo.plugins.specs import Sample
from zoo.training.suspects.duplicates import join_groups


def photo(name):
    return CheckedPhoto(name=name, split="train", labels=("cat",), source=b"")


def pair(first, second):
    return DuplicatePair(photo(first), photo(second), 3)


def test_groups_and_duplicates_are_joined_and_others_are_alone():
    named = {"a": "x", "b": "x", "c": "y", "d": "", "e": "", "f": "", "g": ""}
    samples = [Sample(b"", 0, name, group) for name, group in named.items()]
    groups = join_groups(samples, [pair("b", "d"), pair("e", "f")])
    assert len({groups[0], groups[1], groups[3]}) == 1
    assert groups[4] == groups[5]
    assert groups[6] == ""
    assert len(set(groups)) == 4  # x with d; y; e with f; none


def test_a_chain_of_duplicates_joins_groups():
    samples = [Sample(b"", 0, "a", "x"), Sample(b"", 1, "b"), Sample(b"", 1, "c", "y")]
    assert len(set(join_groups(samples, [pair("a", "b"), pair("b", "c")]))) == 1
