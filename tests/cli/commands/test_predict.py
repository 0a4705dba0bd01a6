import csv
import io
import json
import os
import sys
from types import SimpleNamespace

import pytest
from photo_folders import JPEG, fill, remove_pillow_heif
from PIL import Image

import zoo.inference.run_predictor
from zoo.errors import ImageError
from zoo.inference.predictor import Prediction


@pytest.fixture
def requests():
    """The engine and the number of photos of each run that was opened."""
    return []


@pytest.fixture
def photos(tmp_path, make_run, monkeypatch, requests):
    """A run, a folder of photos, and a predictor that finds every file readable that is not empty."""
    make_run()
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name in ("b.jpg", "a.PNG", "below/c.jpeg"):
        (folder / name).write_bytes(b"photo")
    (folder / "notes.txt").write_bytes(b"no photo")

    def predict_files(paths):
        for path in paths:
            if os.path.isfile(path) and path.stat().st_size:  # noqa: PTH113  pathlib raises where a name is too long
                probabilities = {"dog": 0.75, "cat": 0.25}
                yield Prediction(name=str(path), label="dog", probability=0.75, probabilities=probabilities)
            else:
                yield ImageError(f"{path}: cannot be read.")

    def load(run, *, device, registry, engine, images):
        assert device in ("auto", "cpu")
        requests.append((engine, images))
        return SimpleNamespace(predict_files=predict_files, classes=run.classes, notes=("Mind the gap.",))

    monkeypatch.setattr(zoo.inference.run_predictor, "load", load)
    return folder


def test_files_and_folders_at_any_depth_are_classified(run_zoo, photos):
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos")
    assert (code, err) == (0, "warning: Mind the gap.\n")
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--quiet") == (0, out, "")
    assert out.splitlines() == [
        "photo                class  probability",
        "photos/a.PNG         dog         75.0 %",
        "photos/b.jpg         dog         75.0 %",
        "photos/below/c.jpeg  dog         75.0 %",
    ]


def test_the_number_of_photos_may_decide_on_the_engine(run_zoo, photos, requests):
    run_zoo("predict", "tiny-linear-dogs-1", "photos", "photos/b.jpg", "nosuch.jpg")
    assert requests == [("auto", 5)]


def test_top_shows_more_classes_up_to_all(run_zoo, photos):
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--top", "5").out
    assert out.splitlines()[1].split() == ["photos/b.jpg", "dog", "75.0", "%", "cat", "25.0", "%"]


def test_unreadable_and_missing_files_are_reported_and_skipped(run_zoo, photos):
    (photos / "b.jpg").write_bytes(b"")
    (photos / "empty").mkdir()
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "nosuch.jpg", "photos/empty", "--quiet")
    assert code == 1
    assert "photos/a.PNG" in out
    assert "photos/below/c.jpeg" in out
    assert err.splitlines() == [
        "error: photos/empty contains no photos.",
        "error: photos/b.jpg: cannot be read.",
        "error: nosuch.jpg: cannot be read.",
        "3 of 5 photos could not be read.",
    ]


def test_folders_are_read_as_for_training_and_what_is_left_out_is_counted(run_zoo, photos):
    fill(photos, "._b.jpg", "__MACOSX/._a.PNG", ".ipynb_checkpoints/a-checkpoint.PNG", "@eaDir/b.jpg/THUMB.jpg")
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--quiet")
    assert (code, err, len(out.splitlines())) == (0, "", 4)
    fill(photos, "no_suffix", content=JPEG)
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos")
    assert (code, len(out.splitlines())) == (0, 4)
    assert "warning: photos: 1 of 4 photos left out: 1 without an image suffix (no_suffix)." in err.splitlines()


def test_photos_in_formats_that_cannot_be_read_are_one_warning_and_a_failure(run_zoo, photos, monkeypatch):
    remove_pillow_heif(monkeypatch)
    fill(photos, "d.HEIC", "below/e.heic", "f.dng")
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--quiet")
    assert (code, len(out.splitlines())) == (1, 4)
    assert err.splitlines() == [
        "warning: photos: 3 of 6 photos left out: 2 HEIC photos cannot be read (d.HEIC, ...), 1 RAW photo cannot be "
        "read (f.dng). Save them as JPEG, or install pillow-heif: pip install 'finetune-zoo[heic]'.",
        "3 of 6 photos could not be read.",
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_that_leads_back_to_itself_and_a_path_that_is_too_long_stop_nothing(run_zoo, photos):
    (photos / "loop.jpg").symlink_to("loop.jpg")
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "x" * 5000)
    assert (code, len(out.splitlines())) == (1, 4)
    assert "1 behind a link that leads back to itself (loop.jpg)" in err


def test_a_subfolder_that_cannot_be_read_is_reported_and_the_others_are_read(run_zoo, photos, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("below"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos")
    assert (code, len(out.splitlines())) == (1, 3)
    assert "error: photos/below cannot be read (Permission denied)." in err.splitlines()


def test_json(run_zoo, photos):
    (prediction,) = json.loads(run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--json").out)
    assert prediction == {
        "name": "photos/b.jpg",
        "label": "dog",
        "probability": 0.75,
        "probabilities": {"dog": 0.75, "cat": 0.25},
    }


def test_csv_to_a_file_and_to_stdout(run_zoo, photos, tmp_path):
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "out.csv").out == ""
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["photo"] for row in rows] == ["photos/a.PNG", "photos/b.jpg", "photos/below/c.jpeg"]
    assert rows[0]["cat"] == "0.250000"
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--csv", "-").out
    assert out == "photo,label,probability,cat,dog\nphotos/b.jpg,dog,0.750000,0.250000,0.750000\n"


def test_a_csv_that_cannot_be_written_is_an_error(run_zoo, photos):
    code, _, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "nosuch/out.csv")
    assert code == 1
    assert err.startswith("error: Cannot write nosuch/out.csv: No such file or directory.")


def test_an_unknown_run_lists_close_matches(run_zoo, photos):
    code, _, err = run_zoo("predict", "tiny-linear-dog-1", "photos")
    assert code == 1
    assert "Did you mean tiny-linear-dogs-1?" in err


def test_without_torch_a_run_is_an_error(run_zoo, make_run, monkeypatch):
    make_run()
    monkeypatch.delitem(sys.modules, "zoo.inference.run_predictor")
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = run_zoo("predict", "tiny-linear-dogs-1", "photo.jpg")
    assert code == 1
    assert err.startswith("error: The run tiny-linear-dogs-1 cannot be used, because torch is not installed.")
    assert "zoo export" in err


def test_without_photos_it_is_wrong_usage(run_zoo, photos):
    assert run_zoo("predict", "tiny-linear-dogs-1").code == 2


@pytest.fixture
def box(plugins, opener, tmp_path):
    """A file that a plugin opens, and a photo."""
    plugins.append(opener)
    Image.new("RGB", (20, 16), "red").save(tmp_path / "photo.png")
    (tmp_path / "model.box").write_text("good")
    return tmp_path / "model.box"


def test_a_file_is_opened_by_its_plugin(run_zoo, box):
    code, out, err = run_zoo("predict", "model.box", "photo.png", "--top", "2", "--csv", "-", "--device", "cpu")
    assert (code, err) == (0, "")
    assert out == "photo,label,probability,cat,dog\nphoto.png,dog,0.750000,0.250000,0.750000\n"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("broken", "error: model.box is broken.\nExport it again."),
        ("bug", "error: The plugin acme:opener failed while opening model.box: ZeroDivisionError: 1 / 0"),
    ],
)
def test_a_file_that_cannot_be_opened_is_an_error(run_zoo, box, model, message):
    box.write_text(model)
    code, _, err = run_zoo("predict", "model.box", "photo.png")
    assert code == 1
    assert err.startswith(message)


def test_the_device_is_passed_on(run_zoo, box):
    code, _, err = run_zoo("predict", "model.box", "photo.png", "--device", "cuda")
    assert (code, err) == (1, "error: There is no cuda here.\n")


def test_files_of_unknown_formats_and_missing_files_are_errors(run_zoo, box, plugins, broken):
    code, _, err = run_zoo("predict", "photo.png", "photo.png")
    assert code == 1
    assert err.startswith(
        "error: photo.png is not a file that a plugin can open.\nPass a run folder or a file that ends"
    )
    assert ".box" in err
    assert run_zoo("predict", "nosuch.box", "photo.png").err.startswith("error: There is no file nosuch.box.")
    assert "There is no run 'nosuch'" in run_zoo("predict", "nosuch", "photo.png").err
    assert "There is no run" in run_zoo("predict", "x" * 300, "photo.png").err
    plugins.append(broken)
    assert "The plugin acme:broken failed" in run_zoo("predict", "photo.png", "photo.png").err
