import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from augmenters import make_augmenters
from fakes import PREPROCESS, make_samples

from zoo.data.loading import cache as cache_module
from zoo.data.loading import pixel_buffer as buffer_module
from zoo.data.loading import pixel_file as file_module
from zoo.data.loading.augment_params import CropPolicy
from zoo.data.loading.cache import PhotoCache, default_budget
from zoo.data.loading.loader import EvalLoader, TrainLoader
from zoo.data.loading.transform import EvalTransform, shrink_for_crops
from zoo.errors import ConfigError, DataError

CPU = torch.device("cpu")
SAMPLES = make_samples("train", 12)
CROPS = CropPolicy(crop_scale=0.5, hflip=0.5)
AUGMENTERS = make_augmenters("color-jitter", options={"strength": 0.2})
SHRINK = shrink_for_crops(PREPROCESS, crop_scale=0.5)
PLENTY = 1 << 24


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    return tmp_path / "photos"


def ignore(done, total):
    pass


def load(cache, split="train", of=SAMPLES, transform=SHRINK):
    return cache.load(split, of, transform, progress=ignore)


def make_cache(mode="auto", *, budget=PLENTY, **more):
    return PhotoCache(mode=mode, budget=budget, workers=2, **more)


def batches_of(store):
    loader = TrainLoader(
        store, preprocess=PREPROCESS, crops=CROPS, augmenters=AUGMENTERS, batch_size=5, seed=0, device=CPU
    )
    return [*loader.epoch(1), *loader.epoch(2), *loader.view(0)]


def eval_batches_of(cache):
    store = load(cache, "val", transform=EvalTransform(PREPROCESS))
    return list(EvalLoader(store, preprocess=PREPROCESS, batch_size=5, device=CPU))


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


@pytest.mark.parametrize(
    ("mode", "budget", "tier", "cached"),
    [
        ("memory", PLENTY, "memory", 36),
        ("memory", 9000, "memory", range(1, 36)),
        ("disk", PLENTY, "disk", 36),
        ("off", PLENTY, "off", 0),
        ("auto", PLENTY, "memory", 36),
        ("auto", 9000, "disk", 36),
    ],
)
def test_batches_are_the_same_wherever_the_photos_are(mode, budget, tier, cached):
    reference, cache = make_cache("off"), make_cache(mode, budget=budget)
    store = load(cache)
    placement = cache.placements["train"]
    assert placement["tier"] == tier
    assert placement["kept"] == store.cached
    assert store.cached == cached if isinstance(cached, int) else store.cached in cached
    assert tier == "disk" or placement["bytes"] <= budget
    assert_same(batches_of(store), batches_of(load(reference)))
    assert_same(eval_batches_of(cache), eval_batches_of(reference))


def test_the_next_run_finds_the_file(home, monkeypatch):
    first, again = make_cache("disk"), make_cache("auto")
    before = batches_of(load(first))
    assert first.placements["train"]["reason"] == f"written to {next(home.iterdir())}"
    monkeypatch.setattr("zoo.data.loading.store.decode", None)  # decoding would fail
    assert_same(batches_of(load(again)), before)
    assert again.placements["train"]["reason"] == f"found in {next(home.iterdir())}"


def test_a_damaged_file_is_written_again(home):
    load(make_cache("disk"))
    (path,) = home.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + b"?" + whole[1001:])
    cache = make_cache("disk")
    load(cache)
    assert cache.placements["train"]["reason"] == f"written to {path}"
    assert path.read_bytes() == whole


def test_all_splits_share_one_budget_and_released_memory_is_free_again():
    whole = load(make_cache("memory")).nbytes
    cache = make_cache("memory", budget=whole + 3000)
    load(cache, "train")
    load(cache, "test", transform=EvalTransform(PREPROCESS))
    assert cache.placements["train"]["kept"] == 36
    assert cache.placements["test"]["kept"] == 3000 // (3 * 16 * 16)
    assert cache.placements["test"]["reason"] == "decoded photos may use 3e-06 GB of memory"
    cache.release("train")
    cache.release("test")
    load(cache, "test", transform=EvalTransform(PREPROCESS))
    assert cache.placements["test"]["kept"] == 36


def test_reservations_count_until_their_split_is_released():
    cache = make_cache("memory")
    free = cache.available_bytes()
    assert free == PLENTY
    used = load(cache).nbytes
    assert cache.available_bytes() == free - used
    cache.reserve("train", 1000)
    cache.reserve("train", 500)
    cache.reserve("val", 10)
    assert cache.available_bytes() == free - used - 1510
    cache.release("train")
    assert cache.available_bytes() == free - 10


def test_a_split_is_loaded_once():
    cache = make_cache()
    assert load(cache) is load(cache)
    assert load(cache, transform=EvalTransform(PREPROCESS)) is not load(cache)


def without_room(monkeypatch):
    usage = type("Usage", (), {"free": 5000})
    monkeypatch.setattr(file_module.shutil, "disk_usage", lambda folder: usage)


def failing_disk(monkeypatch):
    write = file_module.PixelFileWriter.write

    def fail(self, photo):
        if len(self._sizes) == 20:
            raise OSError(28, "No space left on device")
        write(self, photo)

    monkeypatch.setattr(buffer_module.PixelFileWriter, "write", fail)


def failing_end(monkeypatch):
    monkeypatch.setattr(file_module.os, "fsync", lambda number: exec("raise OSError(5, 'Input/output error')"))


@pytest.mark.parametrize("failure", [without_room, failing_disk, failing_end])
def test_without_disk_space_photos_that_fit_in_memory_are_cached(home, monkeypatch, failure):
    reference = batches_of(load(make_cache("off")))
    failure(monkeypatch)
    cache = make_cache("auto", budget=9000)
    store = load(cache)
    placement = cache.placements["train"]
    assert placement["tier"] == "memory"
    assert 0 < placement["kept"] < 36
    assert placement["bytes"] <= 9000
    assert placement["reason"].startswith("decoded photos may use 9e-06 GB of memory; ")
    assert_same(batches_of(store), reference)
    assert list(home.iterdir()) == []
    with pytest.raises(DataError, match=r"cannot be cached in .*photos") as error:
        load(make_cache("disk"))
    assert "--cache memory" in error.value.hint


def test_a_cache_folder_that_cannot_be_created_is_an_error_or_not_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be cached"):
        load(make_cache("disk"))
    assert load(make_cache("auto", budget=9000)).tier == "memory"


def test_the_device_must_have_memory_of_its_own():
    for device in (CPU, None):
        with pytest.raises(ConfigError, match="option 'cache' is 'device'"):
            make_cache("device", device=device)


@pytest.fixture
def fake_device(monkeypatch):
    """Makes the CPU count as a device with its own memory."""

    def has(free):
        monkeypatch.setattr(cache_module, "_can_cache", lambda device: device is not None)
        monkeypatch.setattr(cache_module, "device_memory", lambda device: free)

    return has


@pytest.mark.parametrize(("mode", "budget", "before"), [("auto", PLENTY, "memory"), ("device", 60_000, "disk")])
def test_photos_on_the_device_give_the_same_batches_to_a_level(fake_device, mode, budget, before):
    fake_device(1 << 20)
    reference, cache = make_cache("off"), make_cache(mode, budget=budget, device=CPU)
    store = load(cache)
    assert cache.placements["train"] == {
        "tier": "device",
        "photos": 36,
        "kept": 36,
        "bytes": int(store.sizes.prod(axis=1).sum()) * 3,
        "reason": f"they fit in the {min(budget, (1 << 20) // 3) / 1e9:.3g} GB that may be used there",
    }
    level = 1 / 255 / 0.25
    for ours, theirs in zip(batches_of(store), batches_of(load(reference)), strict=True):
        assert torch.equal(ours.labels, theirs.labels)
        difference = (ours.images - theirs.images).abs()
        assert difference.max() <= 2.7 * level  # colour jitter may stretch a level, and the noise is enlarged here
        assert difference.mean() <= level / 4
    assert_same(eval_batches_of(cache), eval_batches_of(reference))  # nothing to resize: equal to the bit
    store.release()
    assert (store.tier, store.cached) == ("off", 0)


def test_reservations_are_on_the_device_of_the_network(fake_device):
    fake_device(1 << 20)
    assert make_cache(device=CPU).available_bytes() == (1 << 20) // 3
    cache = make_cache(budget=90_000, device=CPU)
    used = load(cache).nbytes
    cache.reserve("train", 1000)
    assert cache.available_bytes() == 90_000 - used - 1000


@pytest.mark.parametrize(("mode", "reason"), [("auto", "decoded photos may use"), ("device", "only 3e-06 GB")])
def test_photos_too_large_for_the_device_stay_in_memory(fake_device, mode, reason):
    fake_device(9000)
    cache = make_cache(mode, device=CPU)
    assert load(cache).tier == "memory"
    assert cache.placements["train"]["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("mode", "tiers"), [("auto", ["disk", "disk"]), ("memory", ["memory"] * 2), ("off", ["off"] * 2)]
)
def test_processes_on_one_machine_map_one_file(home, mode, tiers):
    barrier = threading.Barrier(2, timeout=30)
    stores, caches = {}, {}

    def run(rank):
        caches[rank] = make_cache(mode, local_rank=rank, local_world_size=2, barrier=barrier.wait)
        stores[rank] = load(caches[rank])

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [stores[rank].tier for rank in (0, 1)] == tiers
    assert_same(batches_of(stores[0]), batches_of(stores[1]))
    if mode == "auto":
        assert caches[0].placements["train"]["reason"].startswith("written to")
        assert caches[1].placements["train"]["reason"].startswith("found in")
        assert len(list(home.iterdir())) == 1


@pytest.mark.parametrize(("memory", "budget"), [(1000, 500), (None, 2 << 30)])
def test_the_default_budget_is_half_of_the_available_memory(monkeypatch, memory, budget):
    monkeypatch.setattr(cache_module, "available_memory", lambda: memory)
    assert default_budget() == budget


MEASURE = """
import sys
import numpy as np, torch
torch.set_num_threads(1)
from pathlib import Path
from fakes import PREPROCESS
from PIL import Image
from zoo.data.loading.cache import PhotoCache
from zoo.data.loading.augment_params import CropPolicy
from zoo.data.loading.loader import TrainLoader
from zoo.data.loading.transform import ShrinkForCrops
from zoo.plugins.specs import Sample

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10

folder = Path(sys.argv[1])
for number in range(4):
    noise = np.random.default_rng(number).integers(0, 255, (600, 800, 1), dtype=np.uint8)
    Image.fromarray(np.repeat(noise, 3, axis=2)).save(folder / f"{number}.bmp")
samples = [Sample(folder / f"{number % 4}.bmp", 0, str(number)) for number in range(48)]

def epoch(mode, budget, count):
    cache = PhotoCache(mode=mode, budget=budget, workers=2)
    store = cache.load("train", samples[:count], ShrinkForCrops(600), progress=lambda done, total: None)
    loader = TrainLoader(
        store, preprocess=PREPROCESS, crops=CropPolicy(crop_scale=0.5), batch_size=8, seed=0,
        device=torch.device("cpu"),
    )
    for batch in loader.epoch(1):
        pass
    return cache.placements["train"]

epoch("off", 0, 16)  # one-time allocations of decoding and torch
for mode, budget in (("off", 0), ("disk", 8 << 20), ("memory", 24 << 20), ("memory", 1 << 30)):
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = peak()
    placement = epoch(mode, budget, 48)
    print(mode, budget >> 20, placement["kept"], placement["bytes"] >> 20, (peak() - before) >> 20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not report peak memory")
def test_memory_stays_inside_the_budget(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_ARENA_MAX": "2"}
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in output.splitlines()]
    grown = {(mode, int(budget)): int(growth) for mode, budget, _, _, growth in rows}
    cached = {(mode, int(budget)): (int(count), int(size)) for mode, budget, count, size, _ in rows}
    assert cached["disk", 8] == (48, 65)
    assert cached["memory", 1024] == (48, 65)
    assert 0 < cached["memory", 24][0] < 48
    assert 0 < cached["memory", 24][1] <= 24
    in_flight = 24  # MiB: a few photos of 600 x 800 during decoding, and what malloc retains
    assert grown["off", 0] <= in_flight
    assert grown["disk", 8] <= 8 + in_flight
    assert grown["memory", 24] <= 24 + in_flight
    assert grown["memory", 1024] > 60  # proves that the test measures memory
