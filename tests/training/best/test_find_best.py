import csv
import itertools
import json

import pytest
from fakes import FakePlugin, SmallHead, make_images
from PIL import Image
from searches import probe
from training_runs import EventRecorder

import zoo
import zoo_heads
from zoo.errors import ConfigError, DataError, RunError, TrainingError, UnknownNameError, WeightsError
from zoo.events import Note, Work
from zoo.inference.evaluate import evaluate
from zoo.runs.manifest import check_folder
from zoo.runs.open import open_run
from zoo.training import finalize
from zoo.training.best import complete, plan
from zoo.training.best import search as search_loop
from zoo.training.best.find_best import find_best, resume_search
from zoo.training.best.runner import OutOfTimeError, TrialObserver
from zoo.training.best.sources import find_sources
from zoo.training.frozen import head_choice

FAST = {"head": "linear", "head_options": {"stages": 2}, "device": "cpu", "precision": "fp32", "workers": 2}
BACKBONES = ("small", "small-dropout")


@pytest.fixture
def plugin():
    return FakePlugin(heads=[*zoo_heads.zoo_heads(), zoo.HeadSpec(name="flat", build=SmallHead)])


@pytest.fixture
def find(tmp_path, registry, monkeypatch):
    """Searches among two small backbones, at one image size."""
    monkeypatch.setattr(head_choice, "STRENGTHS", (0.1, 0.03))
    monkeypatch.setattr(plan, "image_sizes", lambda size: ((), ()))
    monkeypatch.setattr(plan, "LONGER", {"epochs": 2, "patience": 2, "freeze": "30%"})

    def search(data="colours", **values):
        given = {"backbones": BACKBONES, "only": True, "runs": tmp_path, "registry": registry, **FAST}
        return find_best(data, **{**given, **values})

    return search


@pytest.fixture
def no_pictures(monkeypatch):
    """Writes no pictures, which take most of the time; returns the folders that would have got some."""
    folders = []
    for module in (complete, finalize):
        monkeypatch.setattr(module, "write_pictures", lambda folder, **_: folders.append(folder))
    monkeypatch.setattr(search_loop, "_write_picture", lambda *_: None)
    return folders


@pytest.fixture
def attempts(monkeypatch):
    """Replaces trainings by what a test says; returns the names of what was tried."""
    tried = []

    def replace_by(make):
        def run(state, attempt, **_):
            tried.append(attempt.name)
            return make(attempt)

        monkeypatch.setattr(search_loop, "run_attempt", run)
        return tried

    return replace_by


@pytest.mark.slow
def test_a_search_leaves_a_run_like_any_other_a_table_and_a_picture(find, tmp_path, registry):
    observer = EventRecorder()
    found = find(keep=True, observer=observer, minutes=5)
    run = found.run
    assert run.path.parent == tmp_path
    assert run.finished
    assert check_folder(run.path) == []
    assert sorted(path.name for path in run.path.glob("*.png")) == [
        "confusion.png",
        "curves.png",
        "mistakes.png",
        "reliability.png",
    ]
    assert run.results["test"]["accuracy"] == evaluate(run, registry=registry).accuracy
    assert [row.chosen for row in found.rows].count(True) == 1
    probes = [row.name for row in found.rows if row.basis == "cross-validation"]
    assert probes[:2] == ["small, 16 px, probe", "small-dropout, 16 px, probe"]
    assert "small, 16 px, fine-tuned" in [row.name for row in found.rows]
    # The test photos were looked at by the chosen run alone, at the end.
    trials = [open_run(path.parent) for path in found.folder.glob("trials/*/*/run.json")]
    assert len(trials) == len(found.rows) - 1
    assert not any("test" in trial.results for trial in trials)
    works = [event.what for event in observer.events if isinstance(event, Work)]
    assert [what for what in works if "test" in what] == ["evaluate test"]
    with (found.folder / "search.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [row.name for row in found.rows]
    with Image.open(found.picture) as picture:
        assert picture.size[0] > 300
    assert "small" in found._repr_html_()
    with pytest.raises(RunError, match="is finished"):
        resume_search(found.folder, registry=registry)


@pytest.mark.slow
def test_a_stopped_search_goes_on_where_it_was(find, registry, tmp_path, no_pictures):
    def stop(event):
        if isinstance(event, Work) and event.what.startswith("small-dropout, 16 px, probe: compute features"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(observer=stop, backbones=BACKBONES)
    (folder,) = tmp_path.glob("search-*")
    state = json.loads((folder / "search.json").read_text())
    assert [each["attempt"]["source"]["backbone"] for each in state["outcomes"]] == ["small"]
    assert state["running"]["source"]["backbone"] == "small-dropout"
    assert state["used"] > 0
    found = resume_search(folder, registry=registry)
    names = [row.name for row in found.rows]
    assert names[:2] == ["small, 16 px, probe", "small-dropout, 16 px, probe"]
    assert len(set(names)) == len(names)
    assert found.seconds > state["used"]
    assert not (folder / "trials").exists()


def test_a_search_whose_chosen_run_was_not_completed_completes_it(find, registry, tmp_path, attempts, no_pictures):
    def stop(event):
        if isinstance(event, Work) and event.what == "evaluate test":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(observer=stop, backbones=["small"], minutes=5)
    (folder,) = tmp_path.glob("search-*")
    attempts(lambda attempt: pytest.fail("nothing more is tried"))
    found = resume_search(folder, registry=registry)
    assert "test" in found.run.results
    assert check_folder(found.run.path) == []


def test_photos_in_memory_are_passed_again(find, registry, tmp_path, no_pictures):
    images = make_images()
    stop = EventRecorder(lambda event: isinstance(event, Note) and event.text.startswith("1. "))
    with pytest.raises(KeyboardInterrupt):
        find(images, observer=stop, backbones=["small"])
    (folder,) = tmp_path.glob("search-*")
    attempts = resume_search(folder, data=images, registry=registry).rows
    assert attempts[0].name == "small, 16 px, probe"


def test_the_settings_are_stored_as_plain_values(find, attempts, tmp_path):
    attempts(lambda attempt: probe("small", [1.0], status="out of time"))
    with pytest.raises(TrainingError):
        find(limit="30", metric=["recall"], metric_options={"average": "macro"})
    (folder,) = tmp_path.glob("search-*")
    values = json.loads((folder / "search.json").read_text())["values"]
    assert values["limit"] == 30
    assert values["metric"] == ["recall"]


def test_without_test_photos_the_validation_decides_alone(find, no_pictures):
    found = find(make_images(test=()), backbones=["small"])
    assert "test" not in found.run.results
    assert len(no_pictures) == len(found.rows)  # of validation photos, by each run


def test_nothing_in_time_is_an_error_that_says_how_to_go_on(find, attempts, tmp_path, registry):
    tried = attempts(lambda attempt: probe("small", [1.0], status="out of time"))
    with pytest.raises(TrainingError, match="No probe was finished within 1 minutes") as caught:
        find(minutes=1)
    (folder,) = tmp_path.glob("search-*")
    assert f"'zoo best --resume {folder} --minutes 2'" in caught.value.hint
    assert tried == ["small, 16 px, probe"]
    with pytest.raises(TrainingError):
        resume_search(folder, minutes=2, registry=registry)
    assert tried == 2 * ["small, 16 px, probe"]


def test_if_everything_fails_the_error_is_the_first(find, attempts):
    def fail(attempt):
        from dataclasses import replace

        return replace(probe("small", [1.0], status="failed"), attempt=attempt, message="No luck.")

    attempts(fail)
    with pytest.raises(TrainingError, match=r"The first failure, small, 16 px, probe: No luck\."):
        find()


def test_what_does_not_fit_into_memory_is_not_tried_and_the_table_says_so(find, attempts, tmp_path, monkeypatch):
    from dataclasses import replace

    tried = attempts(lambda attempt: replace(probe("small", [0.5] * 10), attempt=attempt, memory=2 << 30))
    monkeypatch.setattr(search_loop, "available_memory", lambda: 1 << 30)
    monkeypatch.setattr(search_loop, "choose", lambda *_: None)
    observer = EventRecorder()
    with pytest.raises(TrainingError):
        find(observer=observer)
    assert tried == ["small, 16 px, probe"]
    (folder,) = tmp_path.glob("search-*")
    outcomes = json.loads((folder / "search.json").read_text())["outcomes"]
    assert {each["status"] for each in outcomes[1:]} == {"not enough memory"}
    notes = [event.text for event in observer.events if isinstance(event, Note)]
    assert any("not tried: it would need 2.1 GB of memory, and 1.1 GB are available" in text for text in notes)


@pytest.mark.slow
def test_backbones_are_joined(tmp_path, monkeypatch, no_pictures):
    monkeypatch.setattr(plan, "image_sizes", lambda size: ((), ()))
    found = find_best(
        "hotdog-cartoon",
        data_options={"images": 60, "size": 64},
        minutes=8,
        backbones=["efficientnet_lite0", "efficientnet_lite1"],
        only=True,
        runs=tmp_path,
    )
    (joined,) = [row for row in found.rows if "+" in row.name]
    members = {"efficientnet_lite0", "efficientnet_lite1"}
    assert set(joined.name.removesuffix(", 240 px, probe").split("+")) == members  # the better one first
    assert joined.status == "done"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"minutes": 0}, "cannot take 0 minutes"),
        ({"epochs": 3}, "'epochs' is for the search to decide"),
        ({"backbones": ()}, "No backbone is left to try"),
        ({"backbones": ("small", "small")}, "named twice"),
        ({"backbones": ("small=",)}, "not NAME or NAME=FILE"),
        ({"backbone_options": {"smal.width": 3}}, "belongs to none of the backbones"),
    ],
)
def test_wrong_arguments_are_refused(find, values, message):
    with pytest.raises(ConfigError, match=message):
        find(**values)


def test_photos_with_several_labels_are_refused(find):
    images = make_images()
    several = {
        split: tuple(sample._replace(label=(sample.label,)) for sample in getattr(images, split))
        for split in ("train", "val", "test")
    }
    with pytest.raises(DataError, match="multi-label data"):
        find(make_images(multi_label=True, **several))


def test_names_and_files_are_checked_before_anything_is_tried(find, tmp_path):
    with pytest.raises(UnknownNameError):
        find(backbones=["smal"])
    with pytest.raises(WeightsError, match="no weights file"):
        find(backbones=["small=missing.safetensors"])
    assert not list(tmp_path.glob("search-*"))


def test_backbones_have_their_weights_and_options(registry, tmp_path):
    file = tmp_path / "a=b.safetensors"
    file.touch()
    (source,) = find_sources([f"small={file}"], {}, only=True, registry=registry)
    assert (source.backbone, source.weights, source.image_size) == ("small", str(file), 16)


def test_an_attempt_ends_at_its_deadline_and_its_pace_is_measured():
    seconds = itertools.count()
    seen = []
    watch = TrialObserver(seen.append, name="a", deadline=12, clock=lambda: next(seconds), on_tick=lambda: None)
    watch(Work(what="compute features of train", done=64, total=256))
    watch(Work(what="compute features of train", done=128, total=256))
    assert watch.milliseconds == pytest.approx(1000 * 2 / 64)
    assert watch.work == 2
    assert [event.what for event in seen] == 2 * ["a: compute features of train"]
    late = TrialObserver(seen.append, name="a", deadline=1, clock=lambda: 2.0, on_tick=lambda: None)
    with pytest.raises(OutOfTimeError):
        late(Note(text="x"))
