import dataclasses
import errno
import hashlib
import io
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize

from zoo.data.images.decode import decode
from zoo.errors import ConfigError, DataError
from zoo.plugins.kinds import DATASET
from zoo.plugins.options import make_options
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import DatasetRequest
from zoo.testing import check_dataset
from zoo_datasets import hotdog, zoo_datasets
from zoo_datasets.cartoon import CLASSES, CartoonOptions, load

SPECS = {spec.name: spec for spec in zoo_datasets()}


def draw(**options):
    return load(DatasetRequest(cache=Path("nowhere"), options=CartoonOptions(**options)))


def pixels(samples):
    return np.stack([decode(sample.source) for sample in samples])


def test_both_are_offered_under_their_names():
    registry = load_registry()
    assert registry.find(DATASET, "hotdog").name == "datasets/hotdog"
    assert registry.find(DATASET, "hotdog-cartoon").name == "datasets/hotdog-cartoon"


def test_listing_them_is_light():
    heavy = "{'torch', 'numpy', 'PIL', 'zipfile', 'urllib.request'}"
    code = f"import sys; import zoo_datasets; zoo_datasets.zoo_datasets(); print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


class TestCartoon:
    def test_it_keeps_the_contract(self, tmp_path):
        check_dataset(SPECS["hotdog-cartoon"], cache=tmp_path, options={"images": "5", "size": "24"})

    def test_it_says_that_these_are_drawings(self):
        images = draw(images=5, size=16)
        assert "drawings made by the program" in images.note
        assert "not photos" in SPECS["hotdog-cartoon"].summary
        assert "cartoon" in images.name

    def test_more_than_the_memory_holds_is_refused_before_it_is_drawn(self):
        with pytest.raises(DataError, match=r"The drawings would take \d+\.\d GiB, more than half of the memory"):
            draw(images=10_000_000, size=1024)

    def test_parts_and_classes(self):
        images = draw(images=10, size=16)
        assert images.classes == CLASSES == ("hotdog", "not-hotdog")
        assert [len(part) for part in (images.train, images.val, images.test)] == [20, 4, 8]
        samples = images.train + images.val + images.test
        assert len({sample.name for sample in samples}) == len(samples)
        assert len({sample.source for sample in samples}) == len(samples)
        for part in (images.train, images.val, images.test):
            assert sum(sample.label for sample in part) * 2 == len(part)

    @pytest.mark.parametrize("size", [16, 64, 97])
    def test_size(self, size):
        assert pixels(draw(images=5, size=size).train).shape == (10, size, size, 3)

    def test_the_seed_alone_decides(self):
        one = draw(images=6, size=32, seed=3)
        assert draw(images=6, size=32, seed=3) == one
        other = draw(images=6, size=32, seed=4)
        assert not {sample.source for sample in one.train} & {sample.source for sample in other.train}

    def test_an_image_does_not_depend_on_how_many_there_are(self):
        few, many = draw(images=5, size=32), draw(images=12, size=32)
        assert {sample.name: sample.source for sample in few.train}.items() <= {
            sample.name: sample.source for sample in many.train
        }.items()

    def test_every_food_is_drawn_without_touching_the_random_state_of_others(self):
        state = np.random.get_state()[1].tolist()
        images = pixels(draw(images=60, size=24).train)
        assert np.random.get_state()[1].tolist() == state
        # No picture is nearly black, white or of one colour.
        assert (images.std(axis=(1, 2, 3)) > 8).all()
        assert (images.mean(axis=(1, 2, 3)) > 25).all()

    def test_progress_is_told(self):
        told = []
        options = CartoonOptions(images=5, size=16)
        load(DatasetRequest(cache=Path("x"), options=options, progress=lambda *step: told.append(step)))
        assert told[-1] == ("draw cartoons", 16, 16)

    def test_wrong_options_are_refused(self):
        for wrong in ({"images": "0"}, {"size": "4"}, {"seed": "-1"}, {"colour": "red"}):
            with pytest.raises(ConfigError, match=f"option '{next(iter(wrong))}'"):
                make_options(CartoonOptions, wrong, owner="dataset hotdog-cartoon")

    def test_colours_alone_do_not_tell_them_apart(self):
        images = draw(images=200, size=32)
        features, labels = histograms(images.train), np.array([sample.label for sample in images.train])
        held_out, truth = histograms(images.test), np.array([sample.label for sample in images.test])
        assert accuracy(features, labels, held_out, truth) < 0.8


def histograms(samples, bins=4):
    """Colour histograms of bins**3 colours, (N, bins**3), and a constant."""
    codes = pixels(samples).astype(int) // (256 // bins) @ np.array([bins * bins, bins, 1])
    counts = np.stack([np.bincount(code.ravel(), minlength=bins**3) for code in codes])
    return np.hstack([np.sqrt(counts / codes[0].size) * 10, np.ones((len(codes), 1))])


def accuracy(features, labels, held_out, truth):
    """Of logistic regression."""
    sign = 2 * labels - 1

    def loss(weights):
        margin = sign * (features @ weights)
        slope = -sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = np.logaddexp(0, -margin).mean() + 1e-3 * weights @ weights
        return value, features.T @ slope / len(sign) + 2e-3 * weights

    weights = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x
    return ((held_out @ weights > 0) == truth).mean()


COUNTS = {"train": {"hotdog": 3, "not-hotdog": 2}, "test": {"hotdog": 1, "not-hotdog": 2}}


class TestHotdog:
    """With small numbers of tiny images in the place of the 2800 photos."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(hotdog, "COUNTS", COUNTS)

    @pytest.fixture
    def offline(self, monkeypatch):
        def urlopen(*args, **kwargs):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)

    def put_photos(self, folder):
        for part, classes in COUNTS.items():
            for label, count in classes.items():
                (folder / part / label).mkdir(parents=True)
                for index in range(count):
                    Image.new("RGB", (4, 4)).save(folder / part / label / f"{index}.png")

    def zip_bytes(self, tmp_path):
        self.put_photos(tmp_path / "source" / "hotdog")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for path in sorted((tmp_path / "source").rglob("*.png")):
                file.write(path, path.relative_to(tmp_path / "source").as_posix())
        return buffer.getvalue()

    def request(self, cache, **more):
        return DatasetRequest(cache=cache, options=SPECS["hotdog"].options(), **more)

    def assert_whole(self, images):
        assert images.name == "hotdog"
        assert images.classes == ("hotdog", "not-hotdog")
        assert (len(images.train), len(images.val), len(images.test)) == (5, 0, 3)

    @pytest.mark.parametrize("place", [".", "hotdog", "unpacked/hotdog"])
    def test_an_unpacked_copy_needs_no_network(self, tmp_path, offline, place):
        self.put_photos(tmp_path / place)
        images = SPECS["hotdog"].load(self.request(tmp_path))
        self.assert_whole(images)
        assert ("by hand" in images.note) == (place != "unpacked/hotdog")

    def test_an_archive_put_there_needs_no_network(self, tmp_path, offline, monkeypatch):
        data = self.zip_bytes(tmp_path)
        monkeypatch.setattr(hotdog, "SHA1", hashlib.sha1(data).hexdigest())
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "hotdog.zip").write_bytes(data)
        told = []
        images = SPECS["hotdog"].load(self.request(tmp_path / "cache", progress=lambda *step: told.append(step)))
        self.assert_whole(images)
        assert "right SHA-1" in images.note
        assert told[-1] == ("unpack hotdog.zip", 8, 8)
        # The second time nothing is unpacked.
        (tmp_path / "cache" / "hotdog.zip").unlink()
        assert SPECS["hotdog"].load(self.request(tmp_path / "cache")) == images

    def test_another_archive_is_refused_and_kept(self, tmp_path, offline):
        (tmp_path / "hotdog.zip").write_bytes(b"PK mine")
        with pytest.raises(DataError, match=r"hotdog\.zip is not the expected file: its SHA1 is"):
            SPECS["hotdog"].load(self.request(tmp_path))
        assert (tmp_path / "hotdog.zip").exists()

    def test_without_network_it_says_what_to_do(self, tmp_path, offline):
        with pytest.raises(DataError, match="is unreachable") as caught:
            SPECS["hotdog"].load(self.request(tmp_path / "cache"))
        assert str(tmp_path / "cache" / "hotdog.zip") in caught.value.hint
        assert "hotdog-cartoon" in caught.value.hint

    def test_it_is_downloaded_checked_and_unpacked(self, tmp_path, monkeypatch):
        data = self.zip_bytes(tmp_path)
        monkeypatch.setattr(hotdog, "SHA1", hashlib.sha1(data).hexdigest())
        asked = []

        def download(url, target, *, sha1, progress):
            asked.append((url, sha1))
            target.parent.mkdir(parents=True)
            target.write_bytes(data)

        monkeypatch.setattr(hotdog, "download", download)
        self.assert_whole(SPECS["hotdog"].load(self.request(tmp_path / "cache")))
        assert asked == [(hotdog.URL, hashlib.sha1(data).hexdigest())]

    def test_too_few_photos_are_refused(self, tmp_path, offline):
        self.put_photos(tmp_path / "hotdog")
        (tmp_path / "hotdog" / "train" / "hotdog" / "0.png").unlink()
        with pytest.raises(DataError, match="train: 2 hotdog, 2 not-hotdog; test: 1 hotdog, 2 not-hotdog"):
            SPECS["hotdog"].load(self.request(tmp_path))


def test_the_real_archive_is_the_one_of_d2l():
    assert hotdog.URL == "http://d2l-data.s3-accelerate.amazonaws.com/hotdog.zip"
    assert hotdog.SHA1 == "fba480ffa8aa7e0febbb511d181409f899b9baa5"
    assert hotdog.COUNTS["train"] == {"hotdog": 1000, "not-hotdog": 1000}
    assert dataclasses.is_dataclass(SPECS["hotdog"].options)
