import dataclasses
from pathlib import Path

import pytest

from zoo.data.sources.resolve import dataset_folder, resolve_data
from zoo.errors import AmbiguousNameError, ConfigError, DataError, UnknownNameError

pytestmark = pytest.mark.usefixtures("photo_folders")


def test_a_name_resolves_to_the_dataset_of_a_plugin_and_loads_nothing(dataset_registry, requests):
    source = resolve_data("hotdog", registry=dataset_registry, options={"count": "7"})
    assert (source.data, source.offer.name, source.options.count) == ("hotdog", "datasets/hotdog", 7)
    assert (source.path, source.is_table, source.exclusions, requests) == (None, False, {}, [])


@pytest.mark.parametrize("data", ["./photos", "photos", "photos/", "sets/pets"])
def test_a_folder_resolves_to_its_path(dataset_registry, data):
    source = resolve_data(data, registry=dataset_registry, options={})
    assert (source.path, source.offer, source.is_table) == (Path(data), None, False)


@pytest.mark.parametrize("data", ["list.csv", "./list.csv"])
def test_a_csv_file_resolves_to_its_path(dataset_registry, data):
    source = resolve_data(data, registry=dataset_registry, options={})
    assert (source.path, source.offer, source.is_table) == (Path(data), None, True)


def test_absolute_paths_and_home_are_understood(dataset_registry, tmp_path, monkeypatch):
    assert resolve_data(str(tmp_path / "photos"), registry=dataset_registry, options={}).path == tmp_path / "photos"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert resolve_data("~/photos", registry=dataset_registry, options={}).path == tmp_path / "photos"


def test_a_dataset_wins_over_a_folder_of_the_same_name(dataset_registry, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "hotdog")
    assert resolve_data("hotdog", registry=dataset_registry, options={}).path is None
    assert resolve_data("./hotdog", registry=dataset_registry, options={}).path == Path("hotdog")


def test_an_unknown_name_lists_what_there_is(dataset_registry):
    with pytest.raises(UnknownNameError) as caught:
        resolve_data("hotdgo", registry=dataset_registry, options={})
    assert "There is no dataset 'hotdgo'" in caught.value.message
    assert "There is no folder hotdgo either." in caught.value.message
    assert "Did you mean datasets/hotdog?" in caught.value.hint
    assert "or a folder: ./hotdgo" in caught.value.hint


def test_an_ambiguous_name_stays_ambiguous(dataset_registry):
    with pytest.raises(AmbiguousNameError, match="acme/cats or zoomax/cats"):
        resolve_data("cats", registry=dataset_registry, options={})


@pytest.mark.parametrize("data", ["./nowhere", "~/nowhere", "/nowhere", "a/b/nowhere"])
def test_a_path_that_leads_nowhere_is_refused(dataset_registry, data):
    with pytest.raises(DataError, match=r"The folder .*nowhere does not exist"):
        resolve_data(data, registry=dataset_registry, options={})
    with pytest.raises(DataError, match=r"The file .*nowhere\.csv does not exist"):
        resolve_data(f"{data}.csv", registry=dataset_registry, options={})


def test_wrong_options_are_refused(dataset_registry):
    with pytest.raises(ConfigError, match="dataset hotdog has no option 'cuont'"):
        resolve_data("hotdog", registry=dataset_registry, options={"cuont": "1"})
    with pytest.raises(ConfigError, match=r"\./photos is a path and has no options, but got count"):
        resolve_data("./photos", registry=dataset_registry, options={"count": "1"})


@pytest.mark.parametrize("data", ["hotdog", "./photos"])
def test_the_exclusion_list_is_read(dataset_registry, tmp_path, data):
    (tmp_path / "out.csv").write_text("name,reason\n1.jpg,blurred\n")
    source = resolve_data(data, registry=dataset_registry, options={}, exclude="out.csv")
    (tmp_path / "out.csv").unlink()
    assert (source.exclude, source.exclusions) == (Path("out.csv"), {"1.jpg": "blurred"})
    with pytest.raises(DataError, match="cannot be read"):
        resolve_data(data, registry=dataset_registry, options={}, exclude="out.csv")


def test_a_path_is_local_and_a_dataset_if_its_plugin_says_so(dataset_registry, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    assert resolve_data("./photos", registry=dataset_registry, options={}).is_local
    source = resolve_data("hotdog", registry=dataset_registry, options={})
    assert not source.is_local  # it does not say
    asked = []
    spec = dataclasses.replace(source.offer.spec, is_local=lambda cache: asked.append(cache) or True)
    assert dataclasses.replace(source, offer=dataclasses.replace(source.offer, spec=spec)).is_local
    assert asked == [dataset_folder(source.offer)] == [tmp_path / "datasets" / "hotdog"]


@pytest.mark.parametrize(
    ("name", "message", "advice"),
    [
        ("photos.tsv", "does not end in .csv", "Rename it to photos.csv; its columns may be separated by"),
        ("photos.TXT", "does not end in .csv", "Rename it to photos.csv"),
        ("photos.xlsx", "is a table, but not a CSV file", "pandas.read_excel('photos.xlsx').to_csv('photos.csv'"),
        ("photos.parquet", "is a table, but not a CSV file", "pandas.read_parquet('photos.parquet')"),
        ("photos.jsonl", "is a table, but not a CSV file", "pandas.read_json('photos.jsonl')"),
        ("photos.zip", "is an archive", "Unpack it"),
        ("photos.tar.gz", "is an archive", "Unpack it"),
        ("cat.jpg", "is a single photo", "class folders"),
        ("model.onnx", "is a file, but neither a folder nor a CSV file", "class folders"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(tmp_path, registry, name, message, advice):
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=message) as caught:
        resolve_data(str(tmp_path / name), registry=registry, options={})
    assert advice in caught.value.hint


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ("https://example.org/photos.zip", "download it first"),
        (r"my\photos", "It has backslashes"),
        ("./nowhere", "Check the path passed as data."),
    ],
)
def test_the_advice_fits_a_path_that_does_not_exist(registry, data, advice):
    with pytest.raises(DataError, match="does not exist") as caught:
        resolve_data(data, registry=registry, options={})
    assert advice in caught.value.hint
