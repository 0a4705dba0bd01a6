import random

import numpy as np
import pytest
import torch

from zoo.models.random_state import random_states, restore_random_states, seed_all, set_random_states

CPU = torch.device("cpu")


def draw():
    return random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))


def test_all_generators_are_seeded_saved_and_restored():
    seed_all(3)
    first = draw()
    seed_all(3)
    assert draw() == first
    states = random_states(CPU)
    expected = draw()
    draw()
    set_random_states(states, CPU)
    assert draw() == expected


def test_a_seed_may_exceed_the_range_of_numpy():
    seed_all(2**31 + 7)
    assert torch.initial_seed() == 2**31 + 7


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_the_generators_are_restored_after_a_block(error):
    seed_all(3)
    expected = draw()
    seed_all(3)
    try:
        with restore_random_states():
            seed_all(0)
            draw()
            if error is not None:
                raise error
    except KeyboardInterrupt:
        pass
    assert draw() == expected


@pytest.mark.parametrize("initialized", [True, False])
def test_the_generators_of_gpus_are_restored_without_initialising_cuda(monkeypatch, initialized):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: ["a state"])
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", calls.append)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", calls.append)
    torch.manual_seed(11)
    calls.clear()
    with restore_random_states():
        pass
    assert calls == [["a state"] if initialized else 11]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_a_gpu_is_saved_and_restored():
    device = torch.device("cuda", 0)
    states = random_states(device)
    expected = torch.rand(4, device=device)
    set_random_states(states, device)
    assert torch.equal(torch.rand(4, device=device), expected)
    torch.cuda.manual_seed_all(9)
    expected = torch.rand(4, device=device)
    torch.cuda.manual_seed_all(9)
    with restore_random_states():
        seed_all(0)
        torch.rand(4, device=device)
    assert torch.equal(torch.rand(4, device=device), expected)
