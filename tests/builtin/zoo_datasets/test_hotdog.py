"""Small numbers of tiny images replace the 2800 photos."""

import errno
import hashlib
import io
import urllib.request
import zipfile

import pytest
from PIL import Image

from zoo.errors import DataError
from zoo.plugins.options import NoOptions
from zoo.plugins.specs import DatasetRequest
from zoo_datasets import hotdog
from zoo_datasets.hotdog import is_local, load

COUNTS = {"train": {"hotdog": 3, "not-hotdog": 2}, "test": {"hotdog": 1, "not-hotdog": 2}}
REAL_COUNTS = hotdog.COUNTS


@pytest.fixture(autouse=True)
def _small_counts(monkeypatch):
    monkeypatch.setattr(hotdog, "COUNTS", COUNTS)


@pytest.fixture
def no_network(monkeypatch):
    def urlopen(*args, **kwargs):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def write_photos(folder):
    for split, classes in COUNTS.items():
        for label, count in classes.items():
            (folder / split / label).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (4, 4)).save(folder / split / label / f"{index}.png")


def make_archive(tmp_path):
    write_photos(tmp_path / "source" / "hotdog")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path in sorted((tmp_path / "source").rglob("*.png")):
            file.write(path, path.relative_to(tmp_path / "source").as_posix())
    return buffer.getvalue()


def load_from(cache, **more):
    return load(DatasetRequest(cache=cache, options=NoOptions(), **more))


def assert_complete(images):
    assert images.name == "hotdog"
    assert images.classes == ("hotdog", "not-hotdog")
    assert (len(images.train), len(images.val), len(images.test)) == (5, 0, 3)


@pytest.mark.parametrize("place", [".", "hotdog", "unpacked/hotdog"])
def test_an_extracted_copy_needs_no_network(tmp_path, no_network, place):
    write_photos(tmp_path / place)
    images = load_from(tmp_path)
    assert_complete(images)
    assert ("manual copy" in images.note) == (place != "unpacked/hotdog")


def test_an_archive_in_the_cache_needs_no_network(tmp_path, no_network, monkeypatch):
    data = make_archive(tmp_path)
    monkeypatch.setattr(hotdog, "SHA1", hashlib.sha1(data).hexdigest())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "hotdog.zip").write_bytes(data)
    steps = []
    images = load_from(tmp_path / "cache", progress=lambda *step: steps.append(step))
    assert_complete(images)
    assert "correct SHA-1" in images.note
    assert steps[-1] == ("unpack hotdog.zip", 8, 8)
    # The second call extracts nothing.
    (tmp_path / "cache" / "hotdog.zip").unlink()
    assert load_from(tmp_path / "cache") == images


def test_another_archive_is_an_error_and_stays(tmp_path, no_network):
    (tmp_path / "hotdog.zip").write_bytes(b"PK mine")
    with pytest.raises(DataError, match=r"hotdog\.zip is not the expected file: its SHA1 is"):
        load_from(tmp_path)
    assert (tmp_path / "hotdog.zip").exists()


def test_without_a_network_the_hint_names_the_alternatives(tmp_path, no_network):
    with pytest.raises(DataError, match="is unreachable") as caught:
        load_from(tmp_path / "cache")
    assert str(tmp_path / "cache" / "hotdog.zip") in caught.value.hint
    assert "hotdog-cartoon" in caught.value.hint


def test_the_archive_is_downloaded_and_extracted(tmp_path, monkeypatch):
    data = make_archive(tmp_path)
    monkeypatch.setattr(hotdog, "SHA1", hashlib.sha1(data).hexdigest())
    calls = []

    def download(url, target, *, sha1, progress):
        calls.append((url, sha1))
        target.parent.mkdir(parents=True)
        target.write_bytes(data)

    monkeypatch.setattr(hotdog, "download", download)
    assert_complete(load_from(tmp_path / "cache"))
    assert calls == [(hotdog.URL, hashlib.sha1(data).hexdigest())]


def test_missing_photos_are_an_error(tmp_path, no_network):
    write_photos(tmp_path / "hotdog")
    (tmp_path / "hotdog" / "train" / "hotdog" / "0.png").unlink()
    with pytest.raises(DataError, match="train: 2 hotdog, 2 not-hotdog; test: 1 hotdog, 2 not-hotdog"):
        load_from(tmp_path)


def test_the_archive_is_that_of_d2l():
    assert hotdog.URL == "http://d2l-data.s3-accelerate.amazonaws.com/hotdog.zip"
    assert hotdog.SHA1 == "fba480ffa8aa7e0febbb511d181409f899b9baa5"
    assert REAL_COUNTS["train"] == {"hotdog": 1000, "not-hotdog": 1000}
    assert REAL_COUNTS["test"] == {"hotdog": 400, "not-hotdog": 400}


@pytest.mark.parametrize("folder", ["hotdog", "", "unpacked", "unpacked/hotdog"])
def test_photos_in_the_cache_are_local(tmp_path, folder):
    assert not is_local(tmp_path)
    write_photos(tmp_path / folder)
    assert is_local(tmp_path)


def test_an_archive_in_the_cache_is_local(tmp_path):
    assert not is_local(tmp_path / "nowhere")
    (tmp_path / "hotdog.zip").touch()
    assert is_local(tmp_path)
