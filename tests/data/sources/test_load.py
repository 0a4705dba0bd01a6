from pathlib import Path

import pytest
from fakes import CLASSES, make_images, make_registry, make_samples

import zoo
from zoo.config import make_config
from zoo.data.sources.load import load_source, load_splits
from zoo.data.sources.resolve import resolve_data
from zoo.errors import ConfigError, DataError
from zoo.events import Note, Work, ignore
from zoo.plugins.specs import DatasetSpec


def load(data, registry, progress=lambda *step: None, **options):
    return load_source(resolve_data(data, registry=registry, options=options), progress=progress)


def split(registry, observer=ignore, **values):
    config = make_config("small", data="colours", head="flat", **values)
    source = resolve_data(config.data, registry=registry, options={}, exclude=config.exclude)
    return load_splits(source, config, observer)


def test_a_name_asks_the_plugin(dataset_registry, requests, photo_folders):
    steps = []
    loaded = load("hotdog", dataset_registry, count="7", progress=lambda *step: steps.append(step))
    assert loaded.note == "Made up."
    assert requests[0].options.count == 7
    assert requests[0].cache == photo_folders / "home" / "datasets" / "hotdog"
    assert steps == [("draw", 1, 1)]


def test_a_qualified_name_has_its_own_cache(dataset_registry, requests, photo_folders):
    load("acme/cats", dataset_registry)
    load("datasets/hotdog", dataset_registry)
    folders = [request.cache.relative_to(photo_folders / "home" / "datasets") for request in requests]
    assert folders == [Path("acme/cats"), Path("hotdog")]


@pytest.mark.usefixtures("photo_folders")
@pytest.mark.parametrize("data", ["./photos", "photos", "photos/", "sets/pets", "list.csv", "./list.csv"])
def test_a_path_is_read(dataset_registry, data):
    assert len(load(data, dataset_registry).train) == 2


def test_absolute_paths_and_home_are_read(dataset_registry, photo_folders, monkeypatch):
    assert load(str(photo_folders / "photos"), dataset_registry).name == "photos"
    monkeypatch.setenv("HOME", str(photo_folders))
    monkeypatch.setenv("USERPROFILE", str(photo_folders))
    assert load("~/photos", dataset_registry).name == "photos"


def test_a_dataset_wins_over_a_folder_of_the_same_name_and_notes_it(dataset_registry, photo_folders):
    (photo_folders / "photos").rename(photo_folders / "hotdog")
    note = load("hotdog", dataset_registry).note
    assert note == "Made up. This is the dataset 'hotdog'; the folder of the same name is ./hotdog."
    assert load("./hotdog", dataset_registry).note == ""


def test_images_are_split_and_limited_as_the_configuration_asks(plugin, registry):
    plugin.dataset = make_images(val=(), test=(), skipped=("notes.txt: no image",), note="These are noise.")
    events = []
    loaded = split(registry, events.append, test_fraction=0.25, val_fraction=0.1, limit=12)
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (9, 3, 9)
    everything = [*loaded.train, *loaded.val, *loaded.test]
    assert len({sample.name for sample in everything}) == len(everything)
    texts = [event.text for event in events if isinstance(event, Note)]
    assert "Skipped files: 1; the first: notes.txt: no image." in texts
    assert any(text.startswith("These are noise.") for text in texts)


def test_photos_that_are_left_out_are_one_line_and_classes_that_suffer_a_warning(plugin, registry):
    plugin.dataset = make_images(left_out="3 of 9 photos left out.", warnings=("Classes that lose many.",))
    events = []
    split(registry, events.append)
    assert events[:2] == [
        Note(text="3 of 9 photos left out.", warning=True),
        Note(text="Classes that lose many.", warning=True),
    ]


def test_excluded_photos_are_left_out_and_the_others_stay_in_their_split(plugin, registry, tmp_path):
    plugin.dataset = make_images(val=(), test=())
    before = split(registry)
    excluded = {before.train[0].name, before.test[0].name}
    listed = tmp_path / "out.csv"
    listed.write_text("name,reason\n" + "".join(f"{name},blurred\n" for name in sorted(excluded)) + "nosuch.jpg,\n")
    events = []
    after = split(registry, events.append, exclude=str(listed))
    for name in ("train", "val", "test"):
        remaining = tuple(sample for sample in getattr(before, name) if sample.name not in excluded)
        assert getattr(after, name) == remaining
    assert after.skipped == tuple(f"{name}: excluded, blurred" for name in (before.train[0].name, before.test[0].name))
    assert Note(text=f"Excluded 2 of the 3 photos listed in {listed}.") in events


def test_splits_that_the_data_has_are_unchanged(registry):
    assert split(registry) == make_images()


def test_progress_of_a_dataset_is_reported():
    class Downloading:
        @zoo.hookimpl
        def zoo_datasets(self):
            def load(request):
                request.progress("download colours.zip", 3, 10)
                return make_images()

            return [DatasetSpec(name="colours", load=load)]

    events = []
    split(make_registry(Downloading()), events.append)
    assert Work(what="download colours.zip", done=3, total=10) in events


def test_data_with_a_single_class_is_refused(plugin, registry):
    plugin.dataset = make_images(classes=CLASSES[:1], train=make_samples("train", 3, classes=1), val=(), test=())
    with pytest.raises(DataError, match="has a single class"):
        split(registry)


def test_photos_are_loaded_in_python(registry, tmp_path):
    events = []
    images = zoo.load_images("colours", registry=registry, observer=events.append)
    assert images.classes == CLASSES
    assert len(zoo.load_images(images, registry=registry).train) == len(images.train)
    with pytest.raises(DataError):
        zoo.load_images(tmp_path / "missing", registry=registry)


def test_options_of_a_table_say_how_to_read_its_labels(registry, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"pixels")
    table = tmp_path / "photos.csv"
    table.write_text("path,animals\n0.jpg,fish ray\n1.jpg,ray\n2.jpg,\n")
    images = load(str(table), registry, labels="animals", separator="space")
    assert (images.multi_label, [sample.label for sample in images.train]) == (True, [(0, 1), (1,), ()])
    table.write_text("path,label\n0.jpg,fish\n1.jpg,ray\n")
    source = resolve_data(str(table), registry=registry, options={})
    assert not load_source(source).multi_label
    assert load_source(source, known=("fish", "ray"), multi_label=True).test[1].label == (1,)
    with pytest.raises(ConfigError, match="option 'multi_label' is 'perhaps'"):
        load(str(table), registry, **{"multi-label": "perhaps"})
    with pytest.raises(ConfigError, match="has no option 'seperator'"):
        load(str(table), registry, seperator=";")
    with pytest.raises(ConfigError, match="is a path and has no options"):
        load(str(tmp_path), registry, separator=";")
