from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from zoo.models.nested import flatten_tensors, map_tensors


class Pair(NamedTuple):
    one: Tensor
    other: object


ONE, TWO, THREE = (torch.full((2,), float(number)) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("value", "tensors"),
    [
        (ONE, [ONE]),
        ((ONE, TWO), [ONE, TWO]),
        (Pair(ONE, (TWO, Pair(THREE, ()))), [ONE, TWO, THREE]),
        ((), []),
    ],
)
def test_tensors_are_listed_in_order(value, tensors):
    flat = flatten_tensors(value)
    assert len(flat) == len(tensors)
    assert all(ours is theirs for ours, theirs in zip(flat, tensors, strict=True))


def test_a_function_is_applied_to_each_tensor_and_the_form_stays():
    result = map_tensors(lambda tensor: 10 * tensor, Pair(ONE, (TWO, Pair(THREE, ()))))
    assert type(result) is Pair
    assert type(result.other) is tuple
    assert type(result.other[1]) is Pair
    assert [tensor.tolist() for tensor in flatten_tensors(result)] == [[10, 10], [20, 20], [30, 30]]
    assert map_tensors(torch.neg, ONE).tolist() == [-1, -1]


def test_the_tensors_of_several_values_are_combined_by_their_places():
    sums = map_tensors(lambda *tensors: sum(tensors), Pair(ONE, (TWO,)), Pair(TWO, (TWO,)), Pair(THREE, (ONE,)))
    assert [tensor.tolist() for tensor in flatten_tensors(sums)] == [[6, 6], [5, 5]]


def test_values_of_different_forms_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        map_tensors(torch.add, (ONE, TWO), (ONE,))
