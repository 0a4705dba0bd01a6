import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import encode_png, make_photo
from PIL import Image

from zoo.data.loading.augment import normalise
from zoo.errors import ConfigError, ImageError
from zoo.inference.predictor import PhotoPredictor, make_normaliser, read_ahead
from zoo.metrics.calibration import Calibration, PredictionSets
from zoo.preprocess import Preprocess

CLASSES = ("red", "green", "blue")


class BrightestChannel(PhotoPredictor):
    """Predicts the brightest colour channel."""

    name = "brightest"
    classes = CLASSES
    preprocess = Preprocess(size=(16, 16), resize=16)

    def __init__(self):
        self.batches = []

    def probabilities(self, images):
        self.batches.append(len(images))
        means = np.stack([image.mean(axis=(0, 1), dtype=np.float32) for image in images])
        return means / means.sum(axis=1, keepdims=True)


@pytest.fixture
def predictor():
    return BrightestChannel()


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A JPEG whose EXIF data rotates it, in the home folder."""
    image = Image.fromarray(make_photo(2, 7, size=(24, 40)))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "blue.jpg", exif=exif)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path / "blue.jpg"


def test_a_prediction_has_all_classes_with_the_most_probable_first(predictor):
    prediction = predictor.predict(encode_png(make_photo(1, 5)))
    assert (prediction.name, prediction.label) == ("photo", "green")
    assert set(prediction.probabilities) == set(CLASSES)
    probabilities = list(prediction.probabilities.values())
    assert probabilities == sorted(probabilities, reverse=True)
    assert prediction.probability == probabilities[0]


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


WAYS = {
    "Path": lambda file: file,
    "str": str,
    "home": lambda file: f"~/{file.name}",
    "home as a Path": lambda file: Path("~", file.name),
    "PathLike": PathLike,
    "DirEntry": lambda file: next(iter([*os.scandir(file.parent)])),
    "bytes": lambda file: file.read_bytes(),
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "BytesIO": lambda file: io.BytesIO(file.read_bytes()),
    "Pillow image": Image.open,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_photo_may_be_passed_in_many_ways(predictor, photo, way):
    expected = predictor.predict(photo)
    assert (expected.label, expected.name) == ("blue", str(photo))
    assert predictor.predict(WAYS[way](photo)).probabilities == expected.probabilities
    prediction, heatmap = predictor.explain(WAYS[way](photo))
    assert prediction.probabilities == expected.probabilities
    assert heatmap is None


def test_an_open_file_is_read_from_its_start_and_named(predictor, photo):
    with photo.open("rb") as file:
        assert predictor.predict(file).name == str(photo)
        assert file.tell() == photo.stat().st_size
        assert predictor.predict(file).label == "blue"


def test_a_stream_that_cannot_seek_is_read(predictor, photo):
    class Stream(io.RawIOBase):
        def __init__(self):
            self.content = io.BytesIO(photo.read_bytes())

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.content.readinto(buffer)

    with io.BufferedReader(Stream()) as stream:
        assert predictor.predict(stream).label == "blue"


def test_pixels_are_predicted_like_the_file_that_contains_them(predictor):
    pixels = make_photo(2, 7)
    expected = predictor.predict(encode_png(pixels)).probabilities
    assert predictor.predict(pixels).probabilities == expected
    assert predictor.predict(Image.fromarray(pixels)).probabilities == expected


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16", "F", "LA"])
def test_pillow_images_of_any_mode_are_predicted_like_files(predictor, mode):
    image = Image.fromarray(make_photo(0, 3)).convert("RGB" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.arange(24 * 20, dtype=np.uint16).reshape(24, 20) * 100)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    assert predictor.predict(image).probabilities == predictor.predict(buffer.getvalue()).probabilities


@pytest.mark.parametrize(
    "value",
    [None, 3, {"photo": 1}, {"photo.jpg"}, iter(()), 1.5, object()],
    ids=lambda value: type(value).__name__,
)
def test_a_photo_of_another_type_is_refused_with_the_accepted_types(predictor, value):
    for call in (predictor.predict, predictor.explain):
        with pytest.raises(ImageError, match=f"a photo cannot be of type {type(value).__name__}") as caught:
            call(value)
        for accepted in ("path", "bytes", "file", "Pillow", r"(H, W, 3)", "a list of these"):
            assert accepted in caught.value.hint


def test_a_tensor_is_refused_with_the_accepted_types(predictor):
    with pytest.raises(ImageError, match="a photo cannot be of type Tensor") as caught:
        predictor.predict(torch.zeros(3, 16, 16))
    assert "numpy.asarray()" in caught.value.hint


def test_a_list_of_photos_gives_a_list(predictor, photo):
    red, green = make_photo(0, 1), encode_png(make_photo(1, 1))
    for photos in ([photo, red, green], (photo, red, green)):
        predictions = predictor.predict(photos)
        assert [each.name for each in predictions] == [str(photo), "photo 2", "photo 3"]
        assert [each.label for each in predictions] == ["blue", "red", "green"]
        assert [each for each, heatmap in predictor.explain(photos) if heatmap is None] == predictions
    assert predictor.predict([]) == predictor.explain([]) == []
    (only,) = predictor.predict([photo])
    assert only == predictor.predict(photo)


def test_a_long_list_is_predicted_in_batches(predictor):
    predictions = predictor.predict([make_photo(number % 3, number) for number in range(70)])
    assert [each.label for each in predictions] == [CLASSES[number % 3] for number in range(70)]
    assert max(predictor.batches) == 32


def test_a_list_with_something_else_names_its_place(predictor):
    with pytest.raises(ImageError, match="photo 2: a photo cannot be of type NoneType"):
        predictor.predict([make_photo(0, 1), None])
    with pytest.raises(ImageError, match="a photo cannot be of type list"):
        predictor.predict([[make_photo(0, 1)]])


def test_gray_pixels_and_pixels_with_alpha_are_predicted_like_images(predictor):
    pixels = make_photo(2, 7)
    for mode in ("L", "LA", "RGBA"):
        image = Image.fromarray(pixels).convert(mode)
        if mode != "L":
            image.putalpha(120)
        expected = predictor.predict(image).probabilities
        assert predictor.predict(np.asarray(image)).probabilities == expected
        assert predictor.predict(np.asfortranarray(image)).probabilities == expected
    gray = np.asarray(Image.fromarray(pixels).convert("L"))
    assert predictor.predict(gray[..., None]).probabilities == predictor.predict(gray).probabilities


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros((4, 4, 3), dtype=np.float32), "(255 * array).round().astype('uint8')"),
        (np.zeros((4, 4, 3), dtype=np.int64), "from 0 to 255"),
        (np.zeros((4, 4), dtype=bool), "from 0 to 255"),
        (np.zeros((3, 8, 9), dtype=np.uint8), "array.transpose(1, 2, 0)"),
        (np.zeros((4, 4, 5), dtype=np.uint8), "gray (H, W) or with alpha (H, W, 4)"),
        (np.zeros((1, 4, 4, 3), dtype=np.uint8), "list(array)"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "from 0 to 255"),
        (np.zeros(5, dtype=np.uint8), "from 0 to 255"),
        (np.zeros((), dtype=np.uint8), "from 0 to 255"),
    ],
)
def test_an_array_of_another_shape_or_dtype_is_refused(predictor, array, advice):
    with pytest.raises(ImageError, match=r"not uint8 \(H, W, 3\)") as caught:
        predictor.predict(array)
    assert advice in caught.value.hint


def test_broken_content_is_refused_whatever_holds_it(predictor, photo, tmp_path):
    broken = photo.read_bytes()[:-60]
    (tmp_path / "broken.jpg").write_bytes(broken)
    text = io.StringIO("text")
    closed = io.BytesIO(b"x")
    closed.close()
    closed_image = Image.open(photo)
    closed_image.close()
    for value in (broken, bytearray(broken), io.BytesIO(broken), b"", "no\0file"):
        with pytest.raises(ImageError):
            predictor.predict(value)
    with Image.open(tmp_path / "broken.jpg") as image, pytest.raises(ImageError, match="the image is broken"):
        predictor.predict(image)
    with pytest.raises(ImageError, match="the file returns str, not bytes") as caught:
        predictor.predict(text)
    assert caught.value.hint == "Open it with mode 'rb'."
    with pytest.raises(ImageError, match="closed file"):
        predictor.predict(closed)
    with pytest.raises(ImageError, match="the image is broken"):
        predictor.predict(closed_image)
    with pytest.raises(ImageError, match="the image is empty"):
        predictor.predict(Image.new("RGB", (0, 4)))
    with pytest.raises(ImageError, match=r"~nobody-of-this-name/x\.jpg: cannot be read"):
        predictor.predict("~nobody-of-this-name/x.jpg")


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("https://example.org/a.jpg", "download it first"),
        (r"photos\a.jpg", "It has backslashes"),
        ("missing.jpg", "Check the path and its permissions."),
    ],
)
def test_the_advice_fits_a_path_that_does_not_exist(predictor, path, advice):
    with pytest.raises(ImageError, match="cannot be read") as caught:
        predictor.predict(path)
    assert advice in caught.value.hint


def test_a_file_object_that_fails_is_an_error(predictor):
    class Lost:
        def read(self, size):
            raise RuntimeError("the connection was lost")

    with pytest.raises(ImageError, match="the connection was lost"):
        predictor.predict(Lost())


def test_a_git_lfs_pointer_is_named(predictor):
    with pytest.raises(ImageError, match="it is a Git LFS pointer; 'git lfs pull'"):
        predictor.predict(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46\n")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_pillow_image_is_refused_before_it_is_loaded(predictor, tmp_path, monkeypatch):
    Image.new("1", (12_000, 10_000)).save(tmp_path / "huge.png")
    with Image.open(tmp_path / "huge.png") as image:
        monkeypatch.setattr(image, "load", lambda: pytest.fail("it is loaded"))
        with pytest.raises(ImageError, match="12000 x 10000 pixels, more than the limit"):
            predictor.predict(image)


def test_a_pillow_image_is_not_changed(predictor, photo):
    with Image.open(photo) as image:
        predictor.predict(image)
        assert image.size == (40, 24)
        assert image.getexif()[0x0112] == 6


def test_unreadable_files_yield_errors_in_their_place(predictor, tmp_path):
    files = []
    for number in range(70):
        file = tmp_path / f"{number:02}.png"
        file.write_bytes(b"broken" if number in (0, 40, 69) else encode_png(make_photo(number % 3, number)))
        files.append(file)
    files.insert(5, tmp_path / "missing.png")
    outcomes = list(predictor.predict_files([str(files[0]), *files[1:]]))
    assert len(outcomes) == len(files)
    for file, outcome in zip(files, outcomes, strict=True):
        if file.name in ("00.png", "40.png", "69.png", "missing.png"):
            assert isinstance(outcome, ImageError)
            assert outcome.message.startswith(str(file))
        else:
            assert outcome.name == str(file)
    assert max(predictor.batches) == 31


def test_the_next_batch_is_read_meanwhile_and_no_more():
    read, seen = [], []

    def slow_read(item):
        read.append(item)
        return item * 2

    items = (seen.append(item) or item for item in range(320))
    batches = read_ahead(slow_read, items, batch=32)
    assert next(batches) == [(item, item * 2) for item in range(32)]
    assert len(seen) == 64
    assert [item for batch in batches for item, _ in batch] == [*range(32, 320)]
    assert sorted(read) == [*range(320)]


def test_fewer_items_are_read_ahead_in_smaller_batches():
    seen = []
    batches = read_ahead(str, (seen.append(item) or item for item in range(7)), batch=2)
    assert next(batches) == [(0, "0"), (1, "1")]
    assert len(seen) == 4
    assert [len(batch) for batch in batches] == [2, 2, 1]


def test_an_iteration_that_is_given_up_stops_the_threads():
    batches = read_ahead(str, range(320), batch=32)
    next(batches)
    before = threading.active_count()
    batches.close()
    assert threading.active_count() < before


def test_photos_that_nobody_awaits_any_more_are_not_read():
    read, given_up = [], threading.Event()

    def slow_read(item):
        if item >= 32:  # of the second batch, which is read ahead
            given_up.wait(10)
        read.append(item)

    batches = read_ahead(slow_read, range(320), batch=32)
    next(batches)
    threading.Timer(0.1, given_up.set).start()
    batches.close()
    assert 32 <= len(read) < 64


def test_normalised_pixels_are_those_of_training():
    spec = Preprocess(size=(5, 7), resize=5, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3)).astype(np.uint8)
    expected = normalise(torch.from_numpy(images).permute(0, 3, 1, 2), spec)
    np.testing.assert_array_equal(make_normaliser(spec)(list(images)), expected.numpy())


def test_only_unreadable_files_and_no_files_are_allowed(predictor, tmp_path):
    (outcome,) = predictor.predict_files([tmp_path / "missing.png"])
    assert isinstance(outcome, ImageError)
    assert list(predictor.predict_files([])) == []
    assert predictor.batches == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("photo.jpg", r".*photo\.jpg"),
        (Path("photo.jpg"), r".*photo\.jpg"),
        (make_photo(0, 1), "ndarray"),
        (b"x", "bytes"),
        (io.BytesIO(b"x"), "BytesIO"),
        (None, "NoneType"),
        (3, "int"),
    ],
)
def test_a_single_photo_in_place_of_a_list_is_refused(predictor, path, name):
    with pytest.raises(ImageError, match=f"takes a list of paths, not {name}") as caught:
        list(predictor.predict_files(path))
    assert caught.value.hint == "Use predict() for one photo."


def test_it_imports_no_torch():
    code = "import sys, zoo.inference.predictor; print({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


SETS = PredictionSets(score="lac", photos=20, scores=tuple(number / 20 for number in range(20)))


def test_a_set_has_the_classes_that_a_coverage_needs(predictor):
    predictor.calibration = Calibration(method="none", sets=SETS)
    photo = encode_png(make_photo(1, 5))
    sizes = []
    for coverage in (0.1, 0.7, 0.95):
        prediction = predictor.predict(photo, coverage=coverage)
        assert prediction.prediction_set == tuple(prediction.probabilities)[: len(prediction.prediction_set)]
        assert prediction.coverage == coverage
        sizes.append(len(prediction.prediction_set))
    assert sizes[0] == 1  # never empty
    assert sizes[-1] == 3
    assert sizes == sorted(sizes)
    listed = next(iter(predictor.predict_files([photo], coverage=0.1)))
    assert listed.set_answer == "green (10 %)"
    assert "green (10 %)" in listed._repr_html_()
    plain = predictor.predict(photo)
    assert (plain.prediction_set, plain.coverage, plain.set_answer) == (None, None, "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "brightest has no prediction sets: an earlier version trained it"),
        ({"multi_label": True}, "it decides on each of any number of labels"),
        ({"calibration": Calibration(method="none", sets=SETS)}, "needs 99 photos that did not train the network"),
    ],
)
def test_sets_that_cannot_be_had_are_explained_before_a_photo_is_read(predictor, values, message):
    for name, value in values.items():
        setattr(predictor, name, value)
    with pytest.raises(ConfigError, match=message):
        predictor.predict("missing.jpg", coverage=0.99)
    with pytest.raises(ConfigError, match=message):
        next(predictor.predict_files(["missing.jpg"], coverage=0.99))
