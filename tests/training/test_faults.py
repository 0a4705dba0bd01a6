"""What goes wrong around a training: each ends in an error that says what and where, and costs no earlier result."""

import errno
import re
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
from fakes import FakePlugin, SmallBackbone, SmallHead, make_backbone_spec, make_images, make_registry

import zoo
from zoo.data.loading import pipeline
from zoo.errors import DataError, PluginError, RunError, TrainingError, ZooError
from zoo.events import EpochResult, Note
from zoo.plugins.specs import DatasetSpec, Sample
from zoo.runs.open import open_run
from zoo.training import finalize as conclusion
from zoo.training import prepare as preparation
from zoo.training.finetune import finetune, resume

FAST = {
    "head": "flat",
    "data": "colours",
    "epochs": 3,
    "batch_size": 8,
    "lr": 1e-3,
    "freeze": "none",
    "probe": False,
    "eval_crop": None,
    "device": "cpu",
    "precision": "fp32",
    "workers": 2,
    "save_every": 0,
}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    for name in ("write_curves", "write_confusion", "write_mistakes"):
        monkeypatch.setattr(conclusion, name, lambda *args, **how: None)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def train(registry, runs):
    def run(backbone="small", **values):
        return finetune(backbone, **{"registry": registry, "runs": runs, **FAST, **values})

    return run


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

    found = Disk()
    found.path.mkdir()
    try:
        done = found.mount("size=600k")
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield found
    subprocess.run(["umount", "-l", str(found.path)], check=True)


def after_epoch(number, work):
    def observer(event):
        if isinstance(event, EpochResult) and event.epoch == number:
            work()

    return observer


def assert_same_weights(one, other):
    ours, theirs = (safetensors.torch.load_file(run.weights_path) for run in (one, other))
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_a_disk_that_fills_up_ends_the_run_and_what_was_saved_is_whole(train, disk, registry):
    notes = []
    fill = after_epoch(1, disk.fill)
    with pytest.raises(RunError, match=r"Cannot write .*checkpoint\.pt: No space left on device\.") as caught:
        train(runs=disk.path, observer=lambda event: notes.append(event) if isinstance(event, Note) else fill(event))
    assert "disk full" in caught.value.hint
    run = open_run(disk.path / "small-flat-colours-1")
    assert notes[-1].text == f"Stopped. 'zoo finetune --resume {run.path}' goes on after epoch 1."
    assert any("run.json: No space left on device" in note.text for note in notes)
    assert safetensors.torch.load_file(run.weights_path)
    assert [row["epoch"] for row in run.metrics()] == [1]
    (disk.path / "filler").unlink()
    assert_same_weights(resume(run.path, registry=registry), train())


def test_a_read_only_disk_is_told_and_the_run_on_it_goes_on_once_it_can_be_written_to(train, disk, registry):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(runs=disk.path, observer=after_epoch(2, stop))
    assert disk.mount("remount,ro").returncode == 0
    with pytest.raises(RunError, match=r"Cannot make a run folder below .*: Read-only file system\.") as caught:
        train(runs=disk.path)
    assert "--runs" in caught.value.hint
    with pytest.raises(RunError, match=r"Cannot write to .*: Read-only file system\."):
        resume(disk.path / "small-flat-colours-1", registry=registry)
    disk.mount("remount,rw")
    assert_same_weights(resume(disk.path / "small-flat-colours-1", registry=registry), train())


def test_a_file_in_place_of_the_runs_folder_is_told(train, runs):
    runs.write_text("mine")
    with pytest.raises(RunError, match="Cannot make a run folder below"):
        train()
    assert runs.read_text() == "mine"


@pytest.mark.parametrize("what", ["model.safetensors", "checkpoint.pt", "metrics.jsonl", "run.json"])
def test_any_file_that_cannot_be_written_is_named_and_what_was_saved_is_whole(train, runs, registry, monkeypatch, what):
    def full(file, content, write, **how):
        if file.name.startswith(f".{what}."):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content, **how)

    with monkeypatch.context() as patch:

        def fill():
            for name in ("write_bytes", "write_text"):
                write = getattr(Path, name)
                patch.setattr(Path, name, lambda file, content, write=write, **how: full(file, content, write, **how))

        with pytest.raises(RunError, match=rf"Cannot write .*{what}: No space left on device\."):
            train(observer=after_epoch(1, fill))
    run = open_run(runs / "small-flat-colours-1")
    assert not [file for file in run.path.iterdir() if file.name.startswith(".")]
    assert_same_weights(resume(run.path, registry=registry), train())


class Spoiling(SmallHead):
    """Makes NaN of the logits from the `start`th training step on."""

    start, steps = 7, 0

    def forward(self, features):
        if self.training and torch.is_grad_enabled():
            Spoiling.steps += 1
        return super().forward(features) * (torch.nan if Spoiling.steps >= self.start else 1)


def test_a_loss_of_nan_ends_the_run_with_step_and_rate_and_the_last_good_state_is_kept(train, runs, monkeypatch):
    monkeypatch.setattr(Spoiling, "steps", 0)
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=Spoiling)]))
    with pytest.raises(TrainingError) as caught:
        train(registry=registry)
    told = r"The weights are no longer finite after step 2 of epoch 2, at a learning rate of [\d.e-]+\."
    assert re.fullmatch(told, caught.value.message)
    assert caught.value.hint == "Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32."
    run = open_run(runs / "small-flat-colours-1")
    assert run.record.status == "interrupted"
    assert run.record.saved == {"epoch": 1, "step": 1}
    assert all(tensor.isfinite().all() for tensor in safetensors.torch.load_file(run.weights_path).values())
    monkeypatch.setattr(Spoiling, "start", 10**9)
    assert_same_weights(resume(run.path, registry=registry), train())


def failing(where, error):
    """A plugin whose backbone or head raises an error in its third call in training."""

    class Backbone(SmallBackbone):
        def forward(self, photos):
            return fail(self, super().forward(photos))

    class Head(SmallHead):
        def forward(self, features):
            return fail(self, super().forward(features))

    calls = []

    def fail(module, given):
        if module.training and torch.is_grad_enabled() and isinstance(module, {"b": Backbone, "h": Head}[where]):
            calls.append(module)
            if len(calls) == 3:
                raise error("bad luck")
        return given

    backbones = [make_backbone_spec(build=lambda request: Backbone())]
    return make_registry(FakePlugin(backbones=backbones, heads=[zoo.HeadSpec(name="flat", build=Head)]))


@pytest.mark.parametrize("error", [IndexError, SystemExit, RuntimeError])
@pytest.mark.parametrize(("where", "name"), [("b", "fake/small"), ("h", "fake/flat")])
def test_a_plugin_that_raises_in_training_is_named_and_what_was_saved_is_whole(
    train, runs, registry, where, name, error
):
    with pytest.raises(PluginError) as caught:
        train(registry=failing(where, error))
    assert caught.value.message == f"{name} failed in training: {error.__name__}: bad luck."
    assert "fake:fake" in caught.value.hint
    run = open_run(runs / "small-flat-colours-1")
    assert run.record.saved == {"epoch": 0, "step": 2}
    assert_same_weights(resume(run.path, registry=registry, anyway=True), train())


def test_logits_of_another_shape_in_training_are_told(train):
    class Flat(SmallHead):
        def forward(self, features):
            logits = super().forward(features)
            return logits[:-1] if self.training and torch.is_grad_enabled() else logits

    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=Flat)]))
    with pytest.raises(PluginError, match=r"Of 8 images the head made logits \(7, 3\), not \(8, classes\)"):
        train(registry=registry)


def test_an_error_of_our_own_is_blamed_on_no_plugin(train, monkeypatch):
    from zoo.training import loop as fit

    def broken(*args, **how):
        raise ZeroDivisionError("1 / 0")

    monkeypatch.setattr(fit, "mix", broken)
    with pytest.raises(ZeroDivisionError):
        train()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ZeroDivisionError("1 / 0"), "The plugin fake:fake failed while loading 'colours': ZeroDivisionError: 1 / 0."),
        (SystemExit("bye"), "The plugin fake:fake failed while loading 'colours': SystemExit: bye."),
        (["a.jpg"], "fake/colours: load returned list, not a zoo.ImageSet."),
        (make_images(train=("a.jpg",)), "fake/colours: a split contains str, not zoo.Sample."),
        (make_images(val=(Sample(b"", 3, "x.png"),)), "fake/colours: the label of x.png is 3, of 3 classes."),
        (DataError("The photos are gone."), "The photos are gone."),
    ],
)
def test_a_dataset_that_raises_or_answers_wrongly_is_named(train, answer, told):
    def load(request):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    plugin = FakePlugin()
    plugin.__class__ = type("Plugin", (FakePlugin,), {"zoo_datasets": zoo.hookimpl(lambda self: [a_dataset(load)])})
    with pytest.raises(ZooError) as caught:
        train(registry=make_registry(plugin))
    assert caught.value.message == told


def a_dataset(load) -> DatasetSpec:
    return DatasetSpec(name="colours", load=load)


def test_a_backbone_that_cannot_tell_its_card_is_named(train):
    def no_card():
        raise KeyError("size")

    spec = zoo.BackboneSpec(name="small", build=lambda request: SmallBackbone(), card=no_card)
    with pytest.raises(PluginError, match=r"fake:fake failed while telling what is known of 'small': KeyError: 'size'"):
        train(registry=make_registry(FakePlugin(backbones=[spec])))
    spec = zoo.BackboneSpec(name="small", build=lambda request: SmallBackbone(), card=dict)
    with pytest.raises(PluginError, match=r"fake/small: card returned dict, not a zoo\.BackboneCard"):
        train(registry=make_registry(FakePlugin(backbones=[spec])))


def test_memory_that_runs_out_beside_the_network_is_told(train, monkeypatch):
    def too_large(pieces, **how):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(pipeline, "_joined", too_large)
    with pytest.raises(TrainingError, match="memory of this machine is too small: Unable to allocate 9 GiB") as caught:
        train()
    assert "--cache-size" in caught.value.hint


def test_memory_that_runs_out_in_one_of_several_processes_ends_the_run(train, monkeypatch):
    class Greedy(SmallHead):
        def forward(self, features):
            if self.training and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(features)

    from zoo.training import step

    monkeypatch.setattr(step.Step, "__call__", lambda self, batch: self._accumulate(self.network, batch))
    registry = make_registry(FakePlugin(heads=[zoo.HeadSpec(name="flat", build=Greedy)]))
    with pytest.raises(TrainingError, match="The device's memory is too small: CUDA out of memory") as caught:
        train(registry=registry)
    assert "--batch-size" in caught.value.hint


@pytest.mark.parametrize(("module", "name"), [(preparation, "freeze"), (conclusion, "load_weights")])
def test_memory_that_runs_out_before_or_after_training_is_told(train, monkeypatch, module, name):
    def full(*given, **named):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, name, full)
    with pytest.raises(TrainingError, match="The device's memory is too small: CUDA out of memory"):
        train()


def test_threads_that_cannot_be_started_are_told(train, monkeypatch):
    class Refusing(pipeline.ThreadPoolExecutor):
        def submit(self, *args):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", Refusing)
    with pytest.raises(TrainingError, match="No further thread can be started") as caught:
        train()
    assert "--workers" in caught.value.hint


def test_a_photo_that_vanishes_in_training_is_named(train, tmp_path, plugin):
    samples = []
    for sample in plugin.dataset.train:
        path = tmp_path / "photos" / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.source)
        samples.append(sample._replace(source=path))
    plugin.dataset = make_images(train=tuple(samples))
    with pytest.raises(DataError, match=r"train/red/3\.png"):
        train(cache="off", observer=after_epoch(1, samples[9].source.unlink))
