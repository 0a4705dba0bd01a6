import numpy as np
import pytest
from PIL import Image


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


def test_augmented_views_have_the_size_of_the_backbone(run_zoo, photos):
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
