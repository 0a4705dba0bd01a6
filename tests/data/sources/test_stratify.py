import random
from collections import Counter

import pytest

from zoo.data.sources.stratify import draw_stratified, take_stratified


def make_labels(seed=0, *, count=600, labels=12):
    """Returns sets of labels of which the first is on half of the photos and the last on one in forty."""
    chance = random.Random(seed)
    return [tuple(label for label in range(labels) if chance.random() < 0.5 / (label + 1)) for _ in range(count)]


def totals(labels, chosen):
    return Counter(label for number in chosen for label in labels[number])


def drawn_of(labels, share):
    return [number for number, drawn in enumerate(draw_stratified(labels, share)) if drawn]


def worst_deviation(labels, chosen, share):
    every, found = totals(labels, range(len(labels))), totals(labels, chosen)
    return max(abs(found[label] / count - share) for label, count in every.items())


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_each_label_gets_its_share_far_more_closely_than_by_chance(share):
    stratified, by_chance = [], []
    for seed in range(20):
        labels = make_labels(seed)
        chosen = drawn_of(labels, share)
        assert abs(len(chosen) / len(labels) - share) < 0.02
        unlabelled = [number for number, each in enumerate(labels) if not each]
        assert sum(number in set(chosen) for number in unlabelled) == int(len(unlabelled) * share + 0.5)
        stratified.append(worst_deviation(labels, chosen, share))
        sample = random.Random(seed).sample(range(len(labels)), int(len(labels) * share))
        by_chance.append(worst_deviation(labels, sample, share))
    assert max(stratified) < 0.1
    assert sum(stratified) < 0.3 * sum(by_chance)


def test_photos_of_one_label_each_are_drawn_in_order():
    labels = [(number % 2,) for number in range(20)]
    assert drawn_of(labels, 0.2) == [0, 1, 2, 3]
    assert drawn_of([*labels, (1,)], 0.2) == [0, 1, 2, 3]


def test_one_photo_more_hardly_moves_the_others():
    labels = make_labels()
    before = set(drawn_of(labels, 0.2))
    assert len(before ^ set(drawn_of([*labels, (0, 3)], 0.2))) <= 4


@pytest.mark.parametrize("seed", range(50))
def test_each_label_of_several_photos_is_on_both_sides(seed):
    chance = random.Random(seed)
    labels = [tuple(sorted(chance.sample(range(9), chance.randint(0, 4)))) for _ in range(chance.randint(9, 40))]
    every, drawn = totals(labels, range(len(labels))), draw_stratified(labels, 0.1)
    found = totals(labels, [number for number, is_drawn in enumerate(drawn) if is_drawn])
    assert not any(found[label] for label, count in every.items() if count == 1)

    def leaves_a_side(number):
        here = {label: found[label] if drawn[number] else every[label] - found[label] for label in labels[number]}
        return min(here.values()) == 1

    for label, count in every.items():
        if count > 1 and found[label] in (0, count):
            assert all(leaves_a_side(number) for number, each in enumerate(labels) if label in each)


def test_a_label_that_only_comes_with_rarer_ones_is_on_both_sides():
    labels = [(0, 1), (1,), (0, 2), (2,), (0, 3), (3,)]
    found = totals(labels, drawn_of(labels, 0.5))
    assert 0 < found[0] < 3


def test_the_smallest_cases():
    assert draw_stratified([], 0.5) == []
    assert draw_stratified([()], 0.5) == [False]
    assert draw_stratified([(), ()], 0.1) == [True, False]
    assert draw_stratified([(0,), (1,)], 0.5) == [False, False]
    assert take_stratified([(0,), (1,)], 2) == [0, 1]
    assert take_stratified([(0,), (1,), (0, 1)], 2) == [0, 1]


def test_a_smaller_number_of_photos_is_part_of_a_larger_one_and_covers_all_labels():
    labels = make_labels(3, count=300)
    larger = set(range(300))
    for count in (299, 150, 149, 80, 33, 12):
        chosen = set(take_stratified(labels, count))
        assert len(chosen) == count
        assert chosen <= larger
        assert set(totals(labels, chosen)) == set(range(12))
        larger = chosen
    assert worst_deviation(labels, take_stratified(labels, 150), 0.5) < 0.1


def test_as_many_photos_as_there_are_labels_can_be_taken():
    assert len(take_stratified([(number % 5,) for number in range(50)], 5)) == 5
    assert len(take_stratified([(number % 5,) for number in range(5)], 5)) == 5
