import numpy as np
import pytest

from zoo.data.check.hash_tables import HashTables


def draw_hashes(count, seed=0):
    return np.random.default_rng(seed).normal(0, 40, (count, 64)).clip(-127, 127).astype(np.int8)


@pytest.mark.parametrize("count", [1, 2, 3, 500, 20_000])
def test_each_hash_finds_itself(count):
    hashes = draw_hashes(count)
    queries, rows = HashTables(hashes).look_up(hashes)
    assert set(range(count)) <= set(queries[queries == rows].tolist())


def test_a_similar_hash_is_found_among_few_others():
    hashes = draw_hashes(20_000)
    similar = (hashes[:200] + draw_hashes(200, seed=1) // 8).clip(-127, 127).astype(np.int8)
    queries, rows = HashTables(hashes).look_up(similar)
    assert len(set(queries[queries == rows].tolist())) >= 195
    assert len(rows) < 200 * 20_000 / 10


def test_equal_hashes_are_sampled():
    hashes = np.repeat(draw_hashes(1), 10_000, axis=0)
    _, rows = HashTables(hashes).look_up(hashes[:10])
    assert len(rows) < 10 * 8 * 16 * 64 + 1
    assert len(set(rows.tolist())) > 100


def test_hashes_without_variance_have_keys():
    hashes = np.zeros((300, 64), np.int8)
    _, rows = HashTables(hashes).look_up(hashes[:1])
    assert len(rows) > 0
