import json

import pytest
from fakes import make_images
from training_runs import EventRecorder

from zoo.errors import DataError
from zoo.inference.report import write_report


@pytest.mark.usefixtures("home")
def test_a_run_is_evaluated_on_its_photos(trained_run, registry, tmp_path):
    recorder = EventRecorder()
    path = write_report(trained_run, tmp_path / "report.html", device="cpu", registry=registry, observer=recorder)
    text = path.read_text("utf-8")
    assert "of 18 test photos are classified wrongly" in text
    assert "there are too few photos" in text or "parts of the photos" in text
    assert recorder.notes == []


@pytest.mark.usefixtures("home")
def test_without_its_photos_the_record_remains(trained_run, registry, plugin, tmp_path):
    plugin.dataset = make_images(classes=("one", "two", "three"))
    recorder = EventRecorder()
    path = write_report(trained_run, tmp_path / "report.html", device="cpu", registry=registry, observer=recorder)
    assert "The photos of" in recorder.notes[-1]
    text = path.read_text("utf-8")
    assert "the photos were not at hand" in text
    assert "training photos" in text
    with pytest.raises(DataError):
        write_report(trained_run, tmp_path / "report.html", data=plugin.dataset, device="cpu", registry=registry)


@pytest.mark.usefixtures("home")
def test_the_newest_stress_test_of_the_run_is_found(trained_run, registry, tmp_path):
    runs = trained_run.path.parent
    for name, model in (("stress-a", trained_run.name), ("stress-b", "another")):
        (runs / name).mkdir()
        content = {"models": [{"name": model, "count": 18, "clean": {"accuracy": 0.5}, "kinds": [{"name": name}]}]}
        (runs / name / "stress.json").write_text(json.dumps(content))
    (runs / "stress-c").mkdir()
    (runs / "stress-c" / "stress.json").write_text("{")
    path = write_report(trained_run, tmp_path / "report.html", device="cpu", registry=registry)
    text = path.read_text("utf-8")
    assert "stress-a" in text
    assert "stress-b" not in text
