import dataclasses
from pathlib import Path

import pytest

from zoo.data.sources.resolve import load_images
from zoo.errors import AmbiguousNameError, ConfigError, DataError, UnknownNameError
from zoo.plugins.discovery import DISTRIBUTION, Plugin
from zoo.plugins.options import option
from zoo.plugins.registry import Registry
from zoo.plugins.specs import DatasetSpec, ImageSet, Sample


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    count: int = option(3, help="images", minimum=1)


def spec(name, asked):
    def load(request):
        asked.append(request)
        request.progress("draw", 1, 1)
        return ImageSet(
            name=name, classes=("a", "b"), train=(Sample(b"", 0, "1"), Sample(b"", 1, "2")), note="Made up."
        )

    return DatasetSpec(name=name, load=load, options=Options)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def registry(asked):
    def plugin(distribution, qualifier, *names):
        return Plugin(
            key=f"{distribution}:{qualifier}",
            qualifier=qualifier,
            distribution=distribution,
            version="1",
            datasets=tuple(spec(name, asked) for name in names),
        )

    return Registry(
        [plugin(DISTRIBUTION, "datasets", "hotdog"), plugin("acme", "acme", "cats"), plugin("zoomax", "zoomax", "cats")]
    )


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    for name in ("photos/a/1.jpg", "photos/b/2.jpg", "sets/pets/a/1.jpg", "sets/pets/b/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"pixels")
    (tmp_path / "list.csv").write_text("photos/a/1.jpg,a\nphotos/b/2.jpg,b\n")


def test_a_name_asks_the_plugin(registry, asked, tmp_path):
    told = []
    images = load_images("hotdog", registry=registry, options={"count": "7"}, progress=lambda *step: told.append(step))
    assert images.note == "Made up."
    assert asked[0].options == Options(7)
    assert asked[0].cache == tmp_path / "home" / "datasets" / "hotdog"
    assert told == [("draw", 1, 1)]


def test_a_qualified_name_has_a_cache_of_its_own(registry, asked, tmp_path):
    load_images("acme/cats", registry=registry, options={})
    load_images("datasets/hotdog", registry=registry, options={})
    folders = [request.cache.relative_to(tmp_path / "home" / "datasets") for request in asked]
    assert folders == [Path("acme/cats"), Path("hotdog")]


@pytest.mark.parametrize("data", ["./photos", "photos", "photos/", "sets/pets", "list.csv", "./list.csv"])
def test_a_path_is_read(registry, data):
    assert len(load_images(data, registry=registry, options={}).train) == 2


def test_absolute_paths_and_home_are_read(registry, tmp_path, monkeypatch):
    assert load_images(str(tmp_path / "photos"), registry=registry, options={}).name == "photos"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_images("~/photos", registry=registry, options={}).name == "photos"


def test_of_a_dataset_and_a_folder_the_dataset_wins_and_says_so(registry, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "hotdog")
    images = load_images("hotdog", registry=registry, options={})
    assert images.note == "Made up. This is the dataset 'hotdog', not the folder of that name, which is ./hotdog"
    assert load_images("./hotdog", registry=registry, options={}).note == ""


def test_an_unknown_name_lists_what_there_is(registry):
    with pytest.raises(UnknownNameError) as caught:
        load_images("hotdgo", registry=registry, options={})
    assert "There is no dataset 'hotdgo'" in caught.value.message
    assert "Did you mean datasets/hotdog?" in caught.value.hint
    assert "or a folder: ./hotdgo" in caught.value.hint


def test_an_ambiguous_name_stays_ambiguous(registry):
    with pytest.raises(AmbiguousNameError, match="acme/cats or zoomax/cats"):
        load_images("cats", registry=registry, options={})


@pytest.mark.parametrize("data", ["./nowhere", "~/nowhere", "/nowhere", "a/b/nowhere"])
def test_a_path_that_leads_nowhere_is_refused(registry, data):
    with pytest.raises(DataError, match="nowhere does not exist"):
        load_images(data, registry=registry, options={})
    with pytest.raises(DataError, match="cannot be read"):
        load_images(f"{data}.csv", registry=registry, options={})


def test_wrong_options_are_refused(registry):
    with pytest.raises(ConfigError, match="dataset hotdog has no option 'cuont'"):
        load_images("hotdog", registry=registry, options={"cuont": "1"})
    with pytest.raises(ConfigError, match=r"\./photos is a path and has no options, but got count"):
        load_images("./photos", registry=registry, options={"count": "1"})
