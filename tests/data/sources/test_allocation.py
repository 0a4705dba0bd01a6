import random

import pytest

from zoo.data.sources.allocation import PHOTOS, allocate, count_labels, find_lone_groups


def make_groups(count, *, classes=4, seed=0):
    """Returns the counts of groups of 1 to 20 photos, most of them of one class."""
    draw = random.Random(seed)
    groups = []
    for _ in range(count):
        main = draw.randrange(classes)
        labels = [main if draw.random() < 0.8 else draw.randrange(classes) for _ in range(draw.randint(1, 20))]
        groups.append(count_labels((label,) for label in labels))
    return groups


def shares_of(groups, parts, label):
    """Returns the share of the photos with a label in each part."""
    filled = {}
    for group, part in zip(groups, parts, strict=True):
        filled[part] = filled.get(part, 0) + group[label]
    total = sum(filled.values())
    return [filled[part] / total for part in sorted(filled)]


def test_photos_and_their_labels_are_counted():
    assert count_labels([(0,), (1,), (0,)]) == {PHOTOS: 3, 0: 2, 1: 1}
    assert count_labels([(0, 2), ()]) == {PHOTOS: 2, 0: 1, 2: 1}


@pytest.mark.parametrize("shares", [[0.2] * 5, [0.9, 0.1], [0.6, 0.3, 0.1]])
@pytest.mark.parametrize("seed", range(3))
def test_each_part_gets_its_share_of_every_class(shares, seed):
    groups = make_groups(200, seed=seed)
    parts = allocate(groups, shares)
    for label in (PHOTOS, 0, 1, 2, 3):
        assert shares_of(groups, parts, label) == pytest.approx(shares, abs=0.01)


def test_groups_without_siblings_are_divided_exactly():
    groups = [count_labels([(number % 2,)]) for number in range(50)]
    parts = allocate(groups, [0.2] * 5)
    assert [parts.count(part) for part in range(5)] == [10] * 5
    assert [parts[::2].count(part) for part in range(5)] == [5] * 5


def test_a_class_of_two_groups_is_in_both_parts():
    groups = [*make_groups(60, classes=3), count_labels([(7,)] * 30), count_labels([(7,)] * 30)]
    parts = allocate(groups, [0.9, 0.1])
    assert {parts[-1], parts[-2]} == {0, 1}


def test_a_group_is_not_moved_where_another_class_would_be_lost():
    # The second group has the only other photos of both classes: whichever part it is in, the first is in the other.
    groups = [count_labels([(0,)] * 5), count_labels([(0,), (1,)]), count_labels([(1,)] * 5)]
    parts = allocate(groups, [0.5, 0.5])
    assert parts[0] != parts[1] != parts[2]


def test_fixed_groups_stay_in_the_first_part():
    groups = make_groups(40)
    parts = allocate(groups, [0.5, 0.5], fixed=[3, 5, 8])
    assert [parts[number] for number in (3, 5, 8)] == [0, 0, 0]
    assert shares_of(groups, parts, PHOTOS) == pytest.approx([0.5, 0.5], abs=0.02)


def test_labels_of_one_group_are_found():
    groups = [count_labels([(0,), (1,)]), count_labels([(0,)]), count_labels([(2,)])]
    assert find_lone_groups(groups) == {1: 0, 2: 2}


def test_the_allocation_never_changes():
    assert allocate(make_groups(12), [0.5, 0.25, 0.25]) == [2, 0, 0, 0, 1, 0, 1, 2, 2, 0, 1, 0]
