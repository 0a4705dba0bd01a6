import numpy as np
import pytest
import torch
from augmenters import make_augmenters
from fakes import PREPROCESS, encode_png, make_samples

from zoo.data.images.decode import decode
from zoo.data.images.resize import preprocess
from zoo.data.loading.augment import normalise
from zoo.data.loading.augment_params import CropPolicy
from zoo.data.loading.loader import EvalLoader, TrainLoader, shard
from zoo.data.loading.pixel_buffer import PixelBuffer
from zoo.data.loading.store import PhotoStore
from zoo.data.loading.transform import EvalTransform, ShrinkForCrops
from zoo.errors import ConfigError
from zoo.plugins.specs import Sample

CPU = torch.device("cpu")
CROPS = CropPolicy(crop_scale=0.5, hflip=0.5)
AUGMENTERS = make_augmenters("affine", "color-jitter", "trivialaugment", "random-erasing")
UNCHANGED = ShrinkForCrops(1000)


def filled(count, transform=UNCHANGED):
    return fill(make_samples("train", 12)[:count], transform)


def fill(photos, transform):
    store = PhotoStore(photos, transform=transform, workers=1)
    store.fill(PixelBuffer(memory=1 << 20, file=None, count=0), lambda done, total: None)
    return store


class Numbered(TrainLoader):
    """Uses the index of each photo as its label."""

    def __init__(self, count=11, *, batch_size=4, seed=0, crops=CROPS, **world):
        super().__init__(
            filled(count),
            preprocess=PREPROCESS,
            crops=crops,
            augmenters=AUGMENTERS if crops is CROPS else (),
            batch_size=batch_size,
            seed=seed,
            device=CPU,
            **world,
        )
        self._labels = torch.arange(count)

    def order(self, epoch):
        return torch.cat([batch.labels for batch in self.epoch(epoch)]).tolist()


def test_each_epoch_has_every_photo_once_in_a_new_order_that_the_seed_decides():
    loader = Numbered()
    first, second = loader.order(1), loader.order(2)
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second
    assert first == Numbered().order(1)
    assert first != Numbered(seed=1).order(1)


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(11, 4, [4, 4, 3]), (9, 4, [4, 5]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 2])]
)
def test_a_last_single_photo_joins_the_batch_before_it(count, size, sizes):
    loader = Numbered(count, batch_size=size)
    assert [len(batch.labels) for batch in loader.epoch(1)] == sizes
    assert loader.steps == len(sizes)
    assert loader.images_per_step == sizes[0]


def test_batches_are_normalised_channels_last_and_of_the_network_size():
    batch = next(Numbered().epoch(1))
    assert batch.images.shape == (4, 3, 16, 16)
    assert batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert -2.1 < batch.images.min() < batch.images.max() < 2.1  # (0 - 0.5) / 0.25


def test_a_batch_depends_only_on_seed_epoch_and_step():
    whole = list(Numbered().epoch(3))
    torch.manual_seed(99)
    for start in (0, 1, 2):
        for ours, theirs in zip(Numbered().epoch(3, start=start), whole[start:], strict=True):
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.labels, theirs.labels)
    other = next(Numbered(seed=1).epoch(3))
    assert not torch.equal(other.images, whole[0].images)


def test_the_same_photo_looks_different_in_every_epoch():
    loader = Numbered(1)
    views = [next(loader.epoch(epoch)).images for epoch in (1, 2, 3)]
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[1], views[2])


def test_epochs_cycle_through_the_views_each_in_a_new_order():
    loader = Numbered(views=2)
    views = [torch.cat([batch.images for batch in loader.view(number)]) for number in (0, 1)]
    for epoch in (1, 2, 3, 4):
        photos = torch.cat(loader.epoch_indices(epoch))
        assert torch.cat([batch.labels for batch in loader.epoch(epoch)]).tolist() == photos.tolist()
        assert torch.equal(torch.cat([batch.images for batch in loader.epoch(epoch)]), views[(epoch - 1) % 2][photos])
    assert loader.order(1) != loader.order(3)


def test_labels_are_those_of_the_photos():
    loader = TrainLoader(filled(9), preprocess=PREPROCESS, crops=CropPolicy(), batch_size=4, seed=0, device=CPU)
    for batch in loader.epoch(1):
        # The brightest channel is the label: see fakes.make_photo.
        assert batch.images.mean(dim=(2, 3)).argmax(dim=1).tolist() == batch.labels.tolist()


def test_the_photos_of_a_view_come_in_order():
    batches = list(Numbered(crops=CropPolicy()).view(0))
    mirrored = list(Numbered(crops=CropPolicy(hflip=1.0)).view(0))
    assert torch.cat([batch.labels for batch in batches]).tolist() == list(range(11))
    for plain, flipped in zip(batches, mirrored, strict=True):
        torch.testing.assert_close(flipped.images, plain.images.flip(3), atol=1e-4, rtol=0)


def test_unaugmented_photos_match_evaluation_within_half_a_pixel():
    ramp = np.add.outer(np.arange(24) * 5, np.arange(30) * 3)[:, :, None] + [0, 10, 20]
    photos = [Sample(encode_png(ramp.astype(np.uint8)), 0, "ramp.png")]
    stores = [fill(photos, each) for each in (UNCHANGED, EvalTransform(PREPROCESS))]
    options = {"preprocess": PREPROCESS, "batch_size": 1, "device": CPU}
    unaugmented = next(TrainLoader(stores[0], crops=CropPolicy(), seed=0, **options).view(0)).images
    (exact,) = (batch.images for batch in EvalLoader(stores[1], **options))
    assert (unaugmented - exact).abs().max() < (0.5 * (5 + 3) * 24 / 18 + 1) / 255 / 0.25


def eval_loader(count, batch_size=4, **world):
    return EvalLoader(
        filled(count, EvalTransform(PREPROCESS)), preprocess=PREPROCESS, batch_size=batch_size, device=CPU, **world
    )


def test_evaluation_sees_every_photo_in_order_with_the_pixels_of_preprocess():
    batches = list(eval_loader(11))
    assert [len(batch.labels) for batch in batches] == [4, 4, 3]
    images = torch.cat([batch.images for batch in batches])
    for image, sample in zip(images, make_samples("train", 12), strict=False):
        pixels = torch.from_numpy(preprocess(decode(sample.source), PREPROCESS)).permute(2, 0, 1)[None]
        assert torch.equal(image, normalise(pixels, PREPROCESS)[0])
    labels = torch.cat([batch.labels for batch in batches]).tolist()
    assert labels == [sample.label for sample in make_samples("train", 12)[:11]]


def test_views_come_in_order_and_differ():
    loader = Numbered()
    first, second = (list(loader.view(number)) for number in (0, 1))
    assert torch.cat([batch.labels for batch in first]).tolist() == list(range(11))
    assert not torch.equal(first[0].images, second[0].images)
    # Neither the batch size nor the other processes affect the augmentation.
    again = torch.cat([batch.images for batch in Numbered(batch_size=3).view(1)])
    assert torch.equal(torch.cat([batch.images for batch in second]), again)


@pytest.mark.parametrize(("count", "batch_size"), [(11, 4), (13, 5), (9, 4), (3, 3), (10, 10)])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_each_step_of_one_process(count, batch_size, world_size):
    whole = list(Numbered(count, batch_size=batch_size).epoch(2))
    loaders = [Numbered(count, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {loader.steps for loader in loaders} == {len(whole)}
    for whole_step, *shards in zip(whole, *(loader.epoch(2) for loader in loaders), strict=True):
        assert torch.equal(torch.cat([each.images for each in shards]), whole_step.images)
        assert torch.equal(torch.cat([each.labels for each in shards]), whole_step.labels)
        assert sum(each.share for each in shards) == pytest.approx(1)
        assert min(len(each.labels) for each in shards) >= 1
        for each in shards:
            assert each.share == len(each.labels) / len(whole_step.labels)
    assert all(batch.share == 1 for batch in whole)


def test_a_last_batch_that_is_too_small_for_all_processes_joins_the_one_before_it():
    sizes = [len(batch.labels) for batch in Numbered(10, batch_size=4, rank=0, world_size=3).epoch(1)]
    assert sizes == [4 // 3, 6 // 3]


@pytest.mark.parametrize(("count", "batch_size"), [(2, 8), (8, 2)])
def test_fewer_images_than_processes_are_refused(count, batch_size):
    with pytest.raises(ConfigError, match="3 processes cannot share 2 images per step"):
        Numbered(count, batch_size=batch_size, world_size=3)


def test_the_shards_of_all_processes_are_in_order():
    for make in (
        lambda **world: eval_loader(11, **world),
        lambda **world: Numbered(11, **world).view(4),
    ):
        whole = torch.cat([batch.images for batch in make()])
        shards = [torch.cat([batch.images for batch in make(rank=rank, world_size=3)]) for rank in range(3)]
        assert torch.equal(torch.cat(shards), whole)


def test_a_process_without_photos_evaluates_none():
    assert [len(list(eval_loader(1, rank=rank, world_size=2))) for rank in (0, 1)] == [0, 1]


def test_shards_differ_by_one_at_most_and_cover_everything():
    for count in range(9):
        for world_size in range(1, 6):
            shards = [list(range(count)[shard(count, rank, world_size)]) for rank in range(world_size)]
            assert [place for each in shards for place in each] == list(range(count))
            assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_padding_does_not_change_a_photo():
    loader = Numbered(6, batch_size=6, crops=CropPolicy())
    alone = Numbered(6, batch_size=1, crops=CropPolicy())
    together = next(loader.view(0)).images
    one_by_one = torch.cat([batch.images for batch in alone.view(0)])
    np.testing.assert_allclose(together, one_by_one, atol=1e-4)


@pytest.mark.parametrize("world_size", [1, 3])
def test_processes_share_each_step_of_a_sampler(world_size):
    def load(rank, world_size):
        loader = Numbered(sampler="balanced", batch_size=5, rank=rank, world_size=world_size)
        labels = torch.tensor([0] * 9 + [1] * 2)
        loader._labels = labels
        return loader

    whole = load(0, 1)
    steps = [step.tolist() for step in whole.epoch_indices(2)]
    assert sorted(map(len, steps)) == [5, 6]  # the length of an epoch is that without a sampler
    assert sum(index >= 9 for step in steps for index in step) in (5, 6)
    shared = [list(load(rank, world_size).epoch(2)) for rank in range(world_size)]
    for number, batch in enumerate(whole.epoch(2)):
        images = torch.cat([batches[number].images for batches in shared])
        assert torch.equal(images, batch.images)
