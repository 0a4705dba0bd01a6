"""Event files, read back by TensorBoard itself."""

import pytest

pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
pytestmark = pytest.mark.slow  # it imports a lot


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def text_of(events, tag):
    return [each.tensor_proto.string_val[0].decode() for each in events.Tensors(f"{tag}/text_summary")]


def test_the_event_file_has_the_run(track):
    folder = track("tensorboard", group="compare tiny")
    events = read(folder / "trackers" / "tensorboard")
    assert [(each.step, each.value) for each in events.Scalars("loss/validation")] == [(0, 0.5), (1, 0.5), (2, 0.5)]
    assert [each.value for each in events.Scalars("training/images_per_second")] == [16, 16, 16]
    assert events.Scalars("training/learning_rate")[-1].value == pytest.approx(0.001)
    assert events.Scalars("results/test.accuracy")[0].value == 0.75
    assert set(events.Tags()["images"]) == {"pictures/curves", "pictures/confusion", "pictures/mistakes"}
    assert text_of(events, "run/folder") == [str(folder.resolve())]
    assert text_of(events, "run/comparison") == ["compare tiny"]
    assert "| head_options.hidden | 3 |" in text_of(events, "run/configuration")[0]
    assert text_of(events, "run/status") == ["finished"]
    assert any(tag.startswith("_hparams_") for tag in events.summary_metadata)
    assert "accuracy/train" not in events.Tags()["scalars"]  # NaN with mixup


def test_a_resumed_run_continues_in_the_same_folder(track, tmp_path):
    track("tensorboard", status="interrupted", folder=str(tmp_path / "board"))
    track("tensorboard", resumed=True, folder=str(tmp_path / "board"))
    events = read(tmp_path / "board" / "tiny-linear-photos-1")
    assert text_of(events, "run/status") == ["interrupted", "finished"]
