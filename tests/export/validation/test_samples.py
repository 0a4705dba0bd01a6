"""The photos of an export: the right ones, from a dataset that is loaded once."""

import pytest
from fakes import FakePlugin, make_images, make_registry, make_samples

from zoo import hookimpl
from zoo.errors import ExportError
from zoo.events import ignore
from zoo.plugins.specs import DatasetSpec
from zoo_export.validation.samples import find_export_samples, take_evenly


class CountingPlugin(FakePlugin):
    """Provides the dataset ``colours``, and counts how often it is loaded."""

    loads = 0

    @hookimpl
    def zoo_datasets(self):
        def load(request):
            self.loads += 1
            return make_images()

        return [DatasetSpec(name="colours", load=load)]


def find(run, registry, **values):
    known = {"verify": True, "reduced": True, "data": None, "photos": 4}
    return find_export_samples(run, **{**known, **values}, registry=registry, observer=ignore)


def names(samples):
    return [sample.name for sample in samples]


@pytest.mark.parametrize(
    ("values", "loads"),
    [
        ({}, 1),
        ({"reduced": False}, 1),
        ({"verify": False}, 1),
        ({"verify": False, "reduced": False}, 0),
        ({"data": "colours"}, 2),
        ({"data": "colours", "reduced": False}, 1),
    ],
)
def test_dataset_of_the_run_is_loaded_at_most_once(small_run, values, loads):
    plugin = CountingPlugin()
    samples = find(small_run, make_registry(plugin), **values)
    assert plugin.loads == loads
    verify, reduced = values.get("verify", True), values.get("reduced", True)
    images = make_images()
    assert len(samples.comparison) == (4 if verify else 0)
    assert names(samples.train) == (names(images.train) if reduced else [])
    other = images.test if "data" in values else ()
    assert names(samples.scored) == (names((*images.val, *other)) if reduced else [])


def test_comparison_uses_validation_photos_of_the_run_or_all_other_data(small_run, small_registry):
    own = find(small_run, small_registry, reduced=False, photos=100)
    assert names(own.comparison) == names(make_images().val)
    other = find(small_run, small_registry, reduced=False, data="colours", photos=100)
    assert names(other.comparison) == names(make_images().test)


def test_missing_photos_are_errors_that_name_the_way_out(small_run):
    missing = make_registry(FakePlugin(dataset=make_images(classes=("red", "green", "pink"))))
    with pytest.raises(ExportError, match=f"cannot be evaluated without the photos of {small_run.name}") as caught:
        find(small_run, missing)
    assert "fp32" in caught.value.hint
    with pytest.raises(ExportError, match=f"no photos to compare {small_run.name} and its file on") as caught:
        find(small_run, missing, reduced=False)
    assert "--no-verify" in caught.value.hint
    with pytest.raises(ExportError, match="no photos to compare"):
        find(small_run, missing, reduced=False, data="colours")


def test_photos_that_changed_their_split_are_not_used(small_run):
    images = make_images()
    moved = make_registry(FakePlugin(dataset=make_images(train=images.train[:6] + images.test, test=images.train[6:])))
    assert names(find(small_run, moved).train) == names(images.train[:6])
    missing = make_registry(FakePlugin(dataset=make_images(train=images.test, test=images.train)))
    with pytest.raises(ExportError, match="None of its train photos is still the same"):
        find(small_run, missing)


def test_samples_are_taken_evenly():
    samples = make_samples("train", 4)
    assert take_evenly(samples, 3) == [samples[0], samples[4], samples[8]]
    assert take_evenly(samples, 100) == list(samples)
    assert take_evenly((), 3) == []
