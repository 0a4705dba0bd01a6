import pickle
import random
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from contract_offers import violation
from plugin_helpers import plugin_of

import zoo
import zoo_export
from zoo.errors import ExportError
from zoo.testing import check_export_target, check_plugin


def export(request, *, compare=True, finish=lambda request, path: path):
    """Writes the network as a pickle, whose copy is compared with it; then does something else."""
    reference = zoo_export.load_reference(request)
    content = pickle.dumps(reference.classifier)
    if compare:
        reference.compare(pickle.loads(content), name="pickle")
    path = request.to or request.run / "network.pickle"
    path.write_bytes(content)
    return finish(request, path)


def spec_of(function=export, **fields):
    return zoo.ExportTargetSpec(**{"name": "mine", "summary": "Mine.", "export": function, **fields})


def finishing(finish):
    return lambda request: export(request, finish=finish)


def test_a_valid_target_passes_and_gets_every_kind_of_run():
    seen = []

    def recording(request):
        seen.append((request.to is None, request.verify, zoo.open_run(request.run).record.activation))
        return export(request)

    check_export_target(spec_of(recording))
    assert seen == [
        (True, True, "softmax"),
        (False, False, "softmax"),
        (False, True, "softmax"),
        (False, True, "softmax"),
        (False, True, "sigmoid"),
    ]
    check_plugin(plugin_of(zoo_export_targets=lambda: [spec_of(usage=("open {path}",))]))


def ignore_to(request, path):
    path.unlink()
    (request.run / "network.pickle").write_bytes(b"")
    return request.run / "network.pickle"


def write_beside(request, path):
    path.with_name("labels.txt").write_text("a b", "utf-8")
    return path


def change_record(request, path):
    (request.run / "run.json").write_text("{}", "utf-8")
    return path


def name_the_run(request, path):
    path.write_text(str(request.run), "utf-8")
    return path


def start_thread(request, path):
    threading.Thread(target=STOP.wait, name="writer").start()
    return path


STOP = threading.Event()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda request: "model.bin", "export() of a run must return the path of what it wrote, not 'model.bin'"),
        (lambda request: request.run / "gone", "must return the path of what it wrote"),
        (lambda request: Path(__file__), "must write into the run folder if request.to is None"),
        (finishing(ignore_to), "export() must write what request.to names, and nothing beside it; it wrote nothing"),
        (finishing(write_beside), "it also changed labels.txt"),
        (finishing(change_record), "it also changed run.json"),
        (lambda request: export(request, compare=False), "because it cannot compare anything"),
        (finishing(name_the_run), "must not contain the path of the run folder"),
        (finishing(lambda request, path: print("done") or path), "export() must print nothing; it printed 'done"),
        (finishing(lambda request, path: random.random() and path), "nor draw from them"),
        (finishing(start_thread), "must end what it starts, or keep it from keeping the process alive"),
    ],
)
def test_mistakes_are_named(function, message):
    STOP.clear()
    found = violation(lambda: check_export_target(spec_of(function)))
    STOP.set()
    assert found.startswith("export target mine: ")
    assert message in found


def read_photos(request):
    """Reads the photos as a comparison does, and ignores what comes out of it."""
    reference = zoo_export.load_reference(request)
    answers = reference.classifier
    reference.compare(answers)
    return export(request, compare=False)


def assert_equal(request):
    reference = zoo_export.load_reference(request)
    content = pickle.dumps(reference.classifier)
    if request.verify:
        reference.compare(reference.classifier)
        images = torch.zeros(1, 3, *reference.preprocess.size)
        with torch.no_grad():
            torch.testing.assert_close(pickle.loads(content)(images), reference.classifier(images))
    path = request.to or request.run / "network.pickle"
    path.write_bytes(content)
    return path


def write_first(request):
    reference = zoo_export.load_reference(request)
    path = request.to or request.run / "network.pickle"
    path.write_bytes(pickle.dumps(reference.classifier))
    reference.compare(pickle.loads(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (read_photos, "of a network whose copies answer otherwise than it does must raise a zoo.errors.ExportError"),
        (assert_equal, "of a network whose copies answer otherwise than it does raised AssertionError"),
        (write_first, "must leave nothing behind if it raises; it left network.pickle"),
    ],
)
def test_a_gate_that_does_not_hold_is_named(function, message):
    assert message in violation(lambda: check_export_target(spec_of(function)))


def test_a_comparison_that_cannot_be_left_out_is_named():
    def always(request):
        return export(zoo.ExportRequest(**{**fields_of(request), "verify": True}))

    def fields_of(request):
        return {name: getattr(request, name) for name in request.__dataclass_fields__}

    message = violation(lambda: check_export_target(spec_of(always)))
    assert "must compare nothing if request.verify is False, but raised: None of the photos" in message


def test_a_target_for_some_backbones_needs_one():
    def only_resnets(request):
        if "resnet" not in zoo.open_run(request.run).backbone:
            raise ExportError("Not a ResNet.")
        return export(request)

    message = violation(lambda: check_export_target(spec_of(only_resnets)))
    assert "refused it: Not a ResNet." in message
    assert "check_plugin(..., backbones={NAME: BACKBONE})" in message
    check_export_target(spec_of(only_resnets), backbone="timm/test_resnet")


def test_a_target_that_softmaxes_sigmoids_is_named():
    def with_softmax(request):
        reference = zoo_export.load_reference(request)
        assert reference.run.record.activation == "softmax"
        return export(request)

    message = violation(lambda: check_export_target(spec_of(with_softmax)))
    assert "export() of a run with sigmoids raised AssertionError" in message


def test_names_in_another_encoding_are_named():
    def in_ascii(request):
        path = export(request)
        "\n".join(zoo.open_run(request.run).classes).encode("ascii")
        return path

    assert "export() of a run raised UnicodeEncodeError" in violation(lambda: check_export_target(spec_of(in_ascii)))


@dataclass(frozen=True)
class Undescribed:
    level: int = 3


def test_options_and_usage_are_checked():
    assert "the option 'level' must have a line of help" in violation(
        lambda: check_export_target(spec_of(options=Undescribed))
    )
    for usage in ("open {path}", ["open {path}"], ("open {file}",), ("{",)):
        assert "whose 'usage'" in violation(lambda usage=usage: check_export_target(spec_of(usage=usage)))


def test_a_target_that_imports_its_library_at_once_is_named(tmp_path, monkeypatch):
    source = "import torch, zoo\n\n@zoo.hookimpl\ndef zoo_export_targets():\n    return []\n"
    (tmp_path / "zoo_heavy_target.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert "it imports torch when it is loaded" in violation(lambda: check_plugin("zoo_heavy_target"))
