import numpy as np
import pytest
from PIL import Image

import zoo_augmentations
from zoo.plugins.entry_points import DISTRIBUTION, Candidate


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{number}.png")
    return tmp_path


def test_a_sheet_is_written_and_its_path_printed(run_zoo, photos):
    code, out, err = run_zoo("show", "./photos", "--count", "4")
    assert (code, err) == (0, "")
    assert out == "photos.png\n"
    assert run_zoo("show", "./photos", "--count", "4", "-q") == (0, "photos.png\n", "")
    with Image.open(photos / "photos.png") as sheet:
        assert sheet.width > 100


@pytest.fixture
def augmentations(plugins):
    plugins.append(
        Candidate(entry="augmentations", distribution=DISTRIBUTION, version="1", load=lambda: zoo_augmentations)
    )


@pytest.mark.parametrize("name", ["trivialaugment", "cutmix"])
def test_augmentations_are_shown_those_that_mix_photos_too(run_zoo, photos, augmentations, name):
    arguments = ("show", "./photos", "--augmented", "--count", "4", "--hflip", "0", "--crop-scale", "1")
    assert run_zoo(*arguments, "-o", "plain.png").code == 0
    assert run_zoo(*arguments, "-o", "seen.png", "--augment", name) == (0, "seen.png\n", "")
    plain, seen = (np.asarray(Image.open(photos / file)).astype(int) for file in ("plain.png", "seen.png"))
    changed = (abs(plain - seen) > 8).any(axis=(0, 2)).nonzero()[0] / plain.shape[1]
    # The first column has the photos as they are.
    assert changed.min() > 1 / 6
    assert changed.max() > 4 / 6


def test_augmented_views_have_the_size_of_the_backbone(run_zoo, photos, augmentations):
    code, out, err = run_zoo(
        *("show", "./photos", "--augmented", "--count", "2", "--backbone", "tiny", "--output", "seen.png"),
        *("--hflip", "1", "--rotation", "20"),
    )
    assert (code, err) == (0, "")
    assert out == "seen.png\n"
    assert (photos / "seen.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["./nosuch"], "does not exist"),
        (["./photos", "--count", "0"], "option 'count' is 0"),
        (["./photos", "--split", "val"], "split 'val'"),
        (["./photos", "--augmented", "--hflip", "2"], "option 'hflip' is '2', out of bounds"),
        (["./photos", "--augmented", "--backbone", "nosuch"], "There is no backbone 'nosuch'"),
    ],
)
def test_invalid_values_are_errors(run_zoo, photos, args, message):
    code, _, err = run_zoo("show", *args)
    assert code == 1
    assert message in err


def test_the_data_may_be_written_as_an_option(run_zoo, photos):
    assert run_zoo("show", "--data", "./photos", "-q") == (0, "photos.png\n", "")
    code, _, err = run_zoo("show", "./photos", "--data", "./others")
    assert code == 2
    assert err.startswith("error: The data is given twice: ./photos and --data ./others.\n")


@pytest.mark.parametrize("words", [("show",), ("data", "check"), ("data", "suspects")])
def test_data_is_required(run_zoo, words):
    code, _, err = run_zoo(*words)
    assert (code, err) == (2, f"error: Missing argument 'DATA'.\n'zoo {' '.join(words)} --help' shows the usage.\n")
