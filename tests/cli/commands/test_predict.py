import csv
import io
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from photo_folders import JPEG, fill, remove_pillow_heif
from PIL import Image

import zoo.inference.run_predictor
from zoo.errors import ExportError, ImageError
from zoo.inference.predictor import Prediction


def as_predictor(predict_files, classes, *, notes=(), multi_label=False):
    """Returns a predictor of any coverage."""
    return SimpleNamespace(
        predict_files=predict_files,
        check_coverage=lambda coverage: None,
        classes=classes,
        notes=notes,
        multi_label=multi_label,
        familiarity_threshold=None,
    )


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

    def predict_files(paths, coverage=None):
        for path in paths:
            if os.path.isfile(path) and path.stat().st_size:  # noqa: PTH113  pathlib raises where a name is too long
                probabilities = {"dog": 0.75, "cat": 0.25}
                found = None if coverage is None else ("dog", "cat") if coverage > 0.9 else ("dog",)
                yield Prediction(
                    name=str(path),
                    label="dog",
                    probability=0.75,
                    probabilities=probabilities,
                    prediction_set=found,
                    coverage=coverage,
                )
            else:
                yield ImageError(f"{path}: cannot be read.")

    def load(run, *, device, registry, engine, images):
        assert device in ("auto", "cpu")
        requests.append((engine, images))
        return as_predictor(predict_files, run.classes, notes=("Mind the gap.",))

    monkeypatch.setattr(zoo.inference.run_predictor, "load", load)
    return folder


def test_files_and_folders_at_any_depth_are_classified(run_zoo, photos):
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos")
    assert (code, err) == (0, "warning: Mind the gap.\n")
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--quiet") == (0, out, "")
    assert out.splitlines() == [
        "photo                class  probability  class  probability",
        "photos/a.PNG         dog         75.0 %  cat         25.0 %",
        "photos/b.jpg         dog         75.0 %  cat         25.0 %",
        "photos/below/c.jpeg  dog         75.0 %  cat         25.0 %",
    ]


def test_the_number_of_photos_may_decide_on_the_engine(run_zoo, photos, requests):
    run_zoo("predict", "tiny-linear-dogs-1", "photos", "photos/b.jpg", "nosuch.jpg")
    assert requests == [("auto", 5)]


@pytest.mark.parametrize(("top", "classes"), [("1", ["dog"]), ("2", ["dog", "cat"]), ("all", ["dog", "cat"])])
def test_top_is_the_number_of_classes(run_zoo, photos, top, classes):
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--top", top).out
    assert out.splitlines()[1].split()[1::3] == classes
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--top", top, "--json").out
    assert list(json.loads(out)["probabilities"]) == classes


@pytest.mark.parametrize("top", ["0", "-1", "every"])
def test_any_other_number_of_classes_is_wrong_usage(run_zoo, photos, top):
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--top", top).code == 2


def test_unreadable_and_missing_files_have_a_row_and_an_error(run_zoo, photos):
    (photos / "b.jpg").write_bytes(b"")
    (photos / "empty").mkdir()
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "nosuch.jpg", "photos/empty", "--quiet")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["photos/a.PNG", "dog"],
        ["photos/b.jpg", "error:"],
        ["photos/below/c.jpeg", "dog"],
        ["nosuch.jpg", "error:"],
    ]
    assert out.endswith("nosuch.jpg           error: cannot be read.\n")
    assert err.splitlines() == [
        "error: photos/empty contains no photos.",
        "error: photos/b.jpg: cannot be read.",
        "error: nosuch.jpg: cannot be read.",
        "2 of 4 photos could not be read.",
    ]


def test_what_to_do_about_a_photo_is_said_once_and_nan_is_no_reading_error(run_zoo, box, tmp_path):
    Image.new("RGB", (20, 16), "black").save(tmp_path / "black.png")
    addresses = ("https://example.org/a.jpg", "https://example.org/b.jpg")
    code, out, err = run_zoo("predict", "model.box", "photo.png", "black.png", *addresses, "--csv", "-")
    assert code == 1
    assert [bool(row["error"]) for row in csv.DictReader(io.StringIO(out))] == [False, True, True, True]
    assert err.splitlines() == [
        "error: black.png: model.box returns NaN or infinity.",
        "Its network overflows or divides by zero on this photo; report it to the author of its plugin.",
        "error: https:/example.org/a.jpg: cannot be read (No such file or directory).",
        "It is an address, not a path: download it first, and pass the path of the file.",
        "error: https:/example.org/b.jpg: cannot be read (No such file or directory).",
        "2 of 4 photos could not be read.",
        "For 1 of 4 photos the network returned NaN or infinity.",
    ]


def test_json_is_one_object_per_line(run_zoo, photos):
    lines = run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "nosuch.jpg", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "name": "photos/b.jpg",
            "label": "dog",
            "probability": 0.75,
            "probabilities": {"dog": 0.75, "cat": 0.25},
        },
        {"name": "nosuch.jpg", "error": "nosuch.jpg: cannot be read."},
    ]


def test_folders_are_read_as_for_training_and_what_is_left_out_is_counted(run_zoo, photos):
    fill(photos, "._b.jpg", "__MACOSX/._a.PNG", ".ipynb_checkpoints/a-checkpoint.PNG", "@eaDir/b.jpg/THUMB.jpg")
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--quiet")
    assert (code, err, len(out.splitlines())) == (0, "", 4)
    fill(photos, "no_suffix", content=JPEG)
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos")
    assert (code, len(out.splitlines())) == (0, 4)
    assert "warning: photos: 1 of 4 photos left out: 1 without an image suffix (no_suffix)." in err.splitlines()


def test_photos_in_formats_that_cannot_be_read_are_one_warning_and_a_row_each(run_zoo, photos, requests, monkeypatch):
    remove_pillow_heif(monkeypatch)
    fill(photos, "aa.HEIC", "below/e.heic", "f.dng")
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--quiet", "--json", "--csv", "out.csv")
    assert code == 1
    assert [(row["name"], row.get("error", "")) for row in map(json.loads, out.splitlines())] == [
        ("photos/a.PNG", ""),
        ("photos/aa.HEIC", "photos/aa.HEIC: HEIC photos cannot be read; save it as JPEG."),
        ("photos/b.jpg", ""),
        ("photos/below/c.jpeg", ""),
        ("photos/below/e.heic", "photos/below/e.heic: HEIC photos cannot be read; save it as JPEG."),
        ("photos/f.dng", "photos/f.dng: RAW photos cannot be read; save it as JPEG."),
    ]
    with open("out.csv") as file:  # noqa: PTH123
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [False, True, False, False, True, True]
    assert requests == [("auto", 3)]
    assert err.splitlines() == [
        "warning: photos: 3 of 6 photos left out: 2 HEIC photos cannot be read (aa.HEIC, ...), 1 RAW photo cannot be "
        "read (f.dng). Save them as JPEG, or install pillow-heif: pip install pillow-heif.",
        "3 of 6 photos could not be read.",
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_that_leads_back_to_itself_and_a_path_that_is_too_long_stop_nothing(run_zoo, photos):
    (photos / "loop.jpg").symlink_to("loop.jpg")
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "x" * 5000)
    assert (code, len(out.splitlines())) == (1, 5)  # with the row of the long path
    assert out.splitlines()[-1].startswith("x" * 5000 + "  error: ")
    assert max(map(len, out.splitlines()[:-1])) < 200  # one long name does not make all rows long
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


def test_csv_to_a_file_and_to_stdout(run_zoo, photos, tmp_path):
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "out.csv").out == ""
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["photo"] for row in rows] == ["photos/a.PNG", "photos/b.jpg", "photos/below/c.jpeg"]
    assert rows[0]["cat"] == "0.250000"
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--csv", "-").out
    assert out == "photo,label,probability,cat,dog,error\nphotos/b.jpg,dog,0.750000,0.250000,0.750000,\n"
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos/b.jpg", "--csv", "/dev/stdout").out == out


def test_json_and_csv_cannot_both_go_to_stdout(run_zoo, photos, tmp_path):
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "-", "--json").code == 2
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "out.csv", "--json").out
    assert len(out.splitlines()) == len((tmp_path / "out.csv").read_text().splitlines()) - 1 == 3


def test_an_empty_folder_is_an_error_and_no_photo(run_zoo, photos):
    (photos / "empty").mkdir()
    code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "photos/empty", "--quiet")
    assert (code, out, err) == (1, "", "error: photos/empty contains no photos.\n")


def test_the_csv_never_replaces_a_photo(run_zoo, photos):
    for name in ("photos/a.PNG", "photos/b.jpg"):
        code, out, err = run_zoo("predict", "tiny-linear-dogs-1", "--csv", name, "photos/below")
        assert (code, out) == (2, "")
        assert err == f"error: --csv would replace the photo {name}.\nPass the CSV file first: --csv FILE.csv.\n"
        assert Path(name).read_bytes() == b"photo"


def test_the_csv_has_a_row_for_a_file_that_cannot_be_read(run_zoo, photos):
    out = run_zoo("predict", "tiny-linear-dogs-1", "nosuch.jpg", "photos/b.jpg", "--csv", "-").out
    first, second = csv.DictReader(io.StringIO(out))
    assert first == {
        "photo": "nosuch.jpg",
        **dict.fromkeys(("label", "probability", "cat", "dog"), ""),
        "error": "nosuch.jpg: cannot be read.",
    }
    assert second["error"] == ""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow only names that are text")
def test_names_that_are_no_text_are_escaped_in_every_format(run_zoo, photos, tmp_path):
    bad = os.fsencode(photos) + b"/b\xff.jpg"
    Path(os.fsdecode(bad)).write_bytes(b"photo")
    assert "photos/b\\udcff.jpg   dog" in run_zoo("predict", "tiny-linear-dogs-1", "photos").out
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "out.csv").code == 0
    assert "photos/b\\udcff.jpg,dog," in (tmp_path / "out.csv").read_text("utf-8")
    rows = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--json").out.splitlines()
    assert "photos/b\udcff.jpg" in [json.loads(row)["name"] for row in rows]


def test_cells_that_a_spreadsheet_would_run_are_quoted(run_zoo, photos, monkeypatch):
    monkeypatch.chdir(photos)
    Path("=HYPERLINK(1).jpg").write_bytes(b"photo")
    Path("-2+3.jpg").write_bytes(b"")
    out = run_zoo("predict", "../runs/tiny-linear-dogs-1", "=HYPERLINK(1).jpg", "./-2+3.jpg", "--csv", "-").out
    assert out.splitlines()[1].startswith("'=HYPERLINK(1).jpg,dog,")
    assert out.splitlines()[2].split(",")[-1].startswith("'-2+3.jpg")


@pytest.fixture
def stopping(photos, monkeypatch):
    """Lets something happen between two photos of the folder; returns the list of it."""
    happens = []

    def load(run, **options):
        def predict_files(paths, coverage=None):
            for number, path in enumerate(paths):
                if number == 2:
                    happens.pop()()
                yield Prediction(name=str(path), label="dog", probability=1.0, probabilities={"dog": 1.0, "cat": 0.0})

        return as_predictor(predict_files, run.classes)

    monkeypatch.setattr(zoo.inference.run_predictor, "load", load)
    return happens


@pytest.fixture
def _ctrl_c():
    """Restores Ctrl-C, which processes in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fail():
    raise ExportError("The model fails.")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (lambda: signal.raise_signal(signal.SIGINT), 130),
        (lambda: signal.raise_signal(signal.SIGTERM), 143),
        pytest.param(
            lambda: signal.raise_signal(signal.SIGHUP),
            129,
            marks=pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGHUP"),
        ),
        (fail, 1),
    ],
)
@pytest.mark.usefixtures("_ctrl_c")
def test_what_was_done_is_kept_when_a_signal_or_an_error_stops_it(run_zoo, stopping, tmp_path, event, code):
    stopping += [event, event]
    stopped, _, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "out.csv")
    assert stopped == code
    assert "warning: Stopped after 2 of 3 photos; out.csv contains them." in err
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["photo", "photos/a.PNG", "photos/b.jpg"]
    assert not list(tmp_path.glob(".out.csv*"))
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos").out
    assert len(out.splitlines()) == 3


def test_each_row_is_written_before_the_next_photo_is_awaited(run_zoo, stopping, tmp_path):
    seen = []

    def look():
        (aside,) = tmp_path.glob(".out.csv*")
        seen.extend(aside.read_text().splitlines())

    stopping.append(look)
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "out.csv").code == 0
    assert len(seen) == 3
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4


def test_an_earlier_csv_is_kept_if_nothing_was_done(run_zoo, photos, tmp_path, monkeypatch):
    (tmp_path / "out.csv").write_text("earlier")
    monkeypatch.setattr(zoo.inference.run_predictor, "load", lambda *_, **__: fail())
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos", "--csv", "out.csv").code == 1
    assert (tmp_path / "out.csv").read_text() == "earlier"


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
    assert out == "photo,label,probability,cat,dog,error\nphoto.png,dog,0.750000,0.250000,0.750000,\n"


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


def test_photos_with_several_labels_have_those_that_reach_their_thresholds(run_zoo, photos, monkeypatch):
    def predict_files(paths, coverage=None):
        probabilities = {"dog": 0.75, "cat": 0.25}
        for path, labels in zip(paths, (("cat", "dog"), ("cat",), ()), strict=True):
            yield Prediction(name=str(path), label="dog", probability=0.75, probabilities=probabilities, labels=labels)

    model = as_predictor(predict_files, ("cat", "dog"), multi_label=True)
    monkeypatch.setattr(zoo.inference.run_predictor, "load", lambda run, **options: model)
    assert run_zoo("predict", "tiny-linear-dogs-1", "photos").out.splitlines() == [
        "photo                labels",
        "photos/a.PNG         cat 25.0 %, dog 75.0 %",
        "photos/b.jpg         cat 25.0 %",
        "photos/below/c.jpeg  None of the labels",
    ]
    out = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--json", "--top", "1").out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["labels"] for row in rows] == [["cat", "dog"], ["cat"], []]
    assert [list(row["probabilities"]) for row in rows] == [["dog", "cat"], ["dog", "cat"], ["dog"]]
    assert "label" not in rows[0]


def test_prediction_sets_have_the_classes_of_a_coverage(run_zoo, photos):
    arguments = ("predict", "tiny-linear-dogs-1", "photos/a.PNG", "--quiet")
    code, out, _ = run_zoo(*arguments, "--coverage", "0.95")
    assert (code, out.splitlines()) == (
        0,
        ["photo         prediction set (95 %)", "photos/a.PNG  dog 75.0 %, cat 25.0 %"],
    )
    row = json.loads(run_zoo(*arguments, "--coverage", "0.95", "--json", "--top", "1")[1])
    assert (row["label"], row["prediction_set"], row["coverage"]) == ("dog", ["dog", "cat"], 0.95)
    assert list(row["probabilities"]) == ["dog", "cat"]  # those of the set, too
    table = run_zoo(*arguments, "--coverage", "0.8", "--csv", "-")[1].splitlines()
    assert table[0] == "photo,label,probability,prediction_set,cat,dog,error"
    assert table[1].split(",")[3] == "dog"


@pytest.mark.parametrize("coverage", ["0", "1", "95"])
def test_a_coverage_is_a_share(run_zoo, photos, coverage):
    code, _, err = run_zoo("predict", "tiny-linear-dogs-1", "photos", "--coverage", coverage)
    assert code == 2
    assert "--coverage" in err
