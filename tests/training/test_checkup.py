import pytest
from fakes import CLASSES, make_images, make_samples
from scenes import encode, make_scene

from zoo.events import EpochResult, Finished, Note
from zoo.plugins.specs import Sample
from zoo.training import finalize as conclusion
from zoo.training.finetune import finetune
from zoo.training.prepare import check_up
from zoo.training.record import describe_check


@pytest.fixture
def leaking():
    """Photos of which one of the test is in train as it is, and another saved anew."""
    parts = {
        part: [Sample(encode(make_scene(100 * place + n)), n % 3, f"{part}/{n}.jpg") for n in range(36)]
        for place, part in enumerate(("train", "val", "test"))
    }
    parts["train"][0] = Sample(parts["test"][0].source, 0, "train/leak.jpg")
    parts["train"][1] = Sample(encode(make_scene(201), quality=40), 1, "train/near.jpg")
    return make_images(**{part: tuple(listed) for part, listed in parts.items()})


LEAK = (
    "2 of 36 test photos are also in train (1 identical, 1 nearly identical). "
    "The test accuracy of a model trained on them is too high."
)


def test_leaks_are_told_and_fine_photos_are_not(leaking):
    events = []
    report = check_up(leaking, data="./photos", observer=events.append)
    notes = [event for event in events if isinstance(event, Note)]
    assert notes == [
        Note(text=LEAK, warning=True),
        Note(text="'zoo data check ./photos --html page.html' shows them; with --fix it lists what to leave out."),
    ]
    (finding,) = describe_check(report)["findings"]
    assert finding["kind"] == "leak"
    assert [pair["duplicate"]["name"] for pair in finding["pairs"]] == ["train/leak.jpg", "train/near.jpg"]
    events.clear()
    check_up(make_images(train=make_samples("train", 12)), data="colours", observer=events.append)
    assert not [event for event in events if isinstance(event, Note)]


def test_a_training_tells_of_leaks_before_it_begins_and_beside_its_figures(
    leaking, plugin, registry, tmp_path, monkeypatch
):
    for name in ("write_curves", "write_confusion", "write_mistakes"):
        monkeypatch.setattr(conclusion, name, lambda *args, **how: None)
    plugin.dataset = leaking
    events = []
    run = finetune(
        "small",
        data="colours",
        head="flat",
        epochs=1,
        batch_size=16,
        freeze="none",
        eval_crop=None,
        device="cpu",
        precision="fp32",
        runs=tmp_path,
        registry=registry,
        observer=events.append,
    )
    warning = Note(text=LEAK, warning=True)
    first_epoch = next(place for place, event in enumerate(events) if isinstance(event, EpochResult))
    assert warning in events[:first_epoch]
    assert events[-2] == warning
    assert isinstance(events[-1], Finished)
    assert run.leaks == (LEAK,)
    assert run.record.data.check["near"] is True
    assert run.classes == CLASSES
