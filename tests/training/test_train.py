import errno
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
from fakes import make_images
from training_runs import EventRecorder, after_epoch, assert_same_weights

from zoo.errors import DataError, RunError
from zoo.runs.open import open_run


@pytest.fixture
def options():
    return {"save_every": 0}


@pytest.fixture
def disk(tmp_path):
    """A disk of 600 KB; `disk.mount("remount,ro")` makes it read-only."""

    class Disk:
        path = tmp_path / "disk"

        def mount(self, options):
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
            return subprocess.run(command, capture_output=True, text=True)

        def fill(self):
            with (self.path / "filler").open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    return

    disk = Disk()
    disk.path.mkdir()
    try:
        mounted = disk.mount("size=600k")
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk.path)], check=True)


def test_a_full_disk_ends_the_run_and_what_was_saved_is_whole(train, resume, disk):
    observer = EventRecorder(after_epoch(1), disk.fill)
    with pytest.raises(RunError, match=r"Cannot write .*checkpoint\.pt: No space left on device\.") as caught:
        train(runs=disk.path, observer=observer)
    assert "disk full" in caught.value.hint
    run = open_run(disk.path / "small-flat-colours-1")
    assert observer.notes[-1] == f"Stopped. 'zoo finetune --resume {run.path}' resumes it after epoch 1."
    assert any("run.json: No space left on device" in note for note in observer.notes)
    assert safetensors.torch.load_file(run.weights_path)
    assert [row["epoch"] for row in run.metrics()] == [1]
    (disk.path / "filler").unlink()
    assert_same_weights(resume(run.path), train())


def test_a_run_on_a_read_only_disk_can_be_resumed_once_the_disk_is_writable(train, resume, disk):
    with pytest.raises(KeyboardInterrupt):
        train(runs=disk.path, observer=EventRecorder(after_epoch(2)))
    assert disk.mount("remount,ro").returncode == 0
    with pytest.raises(RunError, match=r"Cannot create a run folder in .*: Read-only file system\.") as caught:
        train(runs=disk.path)
    assert "--runs" in caught.value.hint
    with pytest.raises(RunError, match=r"Cannot write to .*: Read-only file system\."):
        resume(disk.path / "small-flat-colours-1")
    disk.mount("remount,rw")
    assert_same_weights(resume(disk.path / "small-flat-colours-1"), train())


def test_a_file_in_place_of_the_folder_of_runs_is_an_error(train, runs):
    runs.write_text("mine")
    with pytest.raises(RunError, match="Cannot create a run folder in"):
        train()
    assert runs.read_text() == "mine"


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.pt", "metrics.jsonl", "run.json"])
def test_a_file_that_cannot_be_written_is_named_and_what_was_saved_is_whole(train, resume, runs, monkeypatch, name):
    def fail(file, content, write, **kwargs):
        if file.name.startswith(f".{name}."):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content, **kwargs)

    with monkeypatch.context() as patch:

        def fill():
            for method in ("write_bytes", "write_text"):
                write = getattr(Path, method)
                patch.setattr(
                    Path, method, lambda file, content, write=write, **kwargs: fail(file, content, write, **kwargs)
                )

        with pytest.raises(RunError, match=rf"Cannot write .*{name}: No space left on device\."):
            train(observer=EventRecorder(after_epoch(1), fill))
    run = open_run(runs / "small-flat-colours-1")
    assert not [file for file in run.path.iterdir() if file.name.startswith(".")]
    assert_same_weights(resume(run.path), train())


def test_a_photo_that_vanishes_in_training_is_named(train, tmp_path, plugin):
    samples = []
    for sample in plugin.dataset.train:
        path = tmp_path / "photos" / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.source)
        samples.append(sample._replace(source=path))
    plugin.dataset = make_images(train=tuple(samples))
    with pytest.raises(DataError, match=r"train/red/3\.png"):
        train(cache="off", observer=EventRecorder(after_epoch(1), samples[9].source.unlink))
