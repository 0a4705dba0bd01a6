import dataclasses
import os
import subprocess
import sys

import pytest
from fakes import FakePlugin, SmallBackbone, make_backbone_spec, make_registry
from run_files import write_json_record

from zoo.inference import graph_cache
from zoo.inference.graph_cache import graph_key, read_graph, write_graph
from zoo.runs.familiarity import PROTOTYPES
from zoo.runs.open import open_run
from zoo.runs.run import RunFolder
from zoo.runs.weights import save_weights


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of the trained run, which a test may change."""
    write_json_record(tmp_path, trained_run.record.to_json())
    for name in ("model.safetensors", PROTOTYPES):
        (tmp_path / name).write_bytes((trained_run.path / name).read_bytes())
    return open_run(tmp_path)


def test_a_graph_is_read_back_by_its_key_only(home):
    assert read_graph("a1") is None
    write_graph("a1", b"graph")
    assert read_graph("a1") == b"graph"
    assert read_graph("b2") is None


def test_a_damaged_file_is_as_good_as_none(home):
    write_graph("a1", b"graph")
    (file,) = (home / "graphs").iterdir()
    content = file.read_bytes()
    for damaged in (content[:-1], content + b"!", b"", content.replace(b"graph", b"Graph")):
        file.write_bytes(damaged)
        assert read_graph("a1") is None
    file.unlink()
    file.mkdir()
    assert read_graph("a1") is None


def test_the_graphs_that_were_not_used_for_the_longest_time_make_room(home, monkeypatch):
    monkeypatch.setattr(graph_cache, "MAX_BYTES", 400)
    for age, key in enumerate(("c", "b", "a")):
        write_graph(key, bytes(90))
        os.utime(home / "graphs" / f"{key}.onnx", (age, age))
    assert read_graph("c") is not None
    write_graph("d", bytes(90))
    assert [key for key in "abcd" if read_graph(key)] == ["a", "c", "d"]
    write_graph("e", bytes(400))  # with its digest, it is too large
    assert [key for key in "abcde" if read_graph(key)] == ["a", "c", "d"]


def test_a_folder_that_is_not_writable_is_no_error(home):
    home.write_bytes(b"a file")
    write_graph("a1", b"graph")
    assert read_graph("a1") is None


def test_the_key_depends_on_weights_record_code_and_packages(run, registry, trained_run, monkeypatch, tmp_path):
    key = graph_key(run, registry)
    assert key == graph_key(run, registry) == graph_key(trained_run, registry)  # not on the folder

    larger = dataclasses.replace(run.record, preprocess=run.preprocess.at_size((24, 24)))
    other_loss = dataclasses.replace(run.record, config={**run.config, "loss": "bce"})
    other_head = dataclasses.replace(run.record, head="fake/mapped")
    keys = [graph_key(RunFolder(run.path, record), registry) for record in (larger, other_loss, other_head)]

    monkeypatch.setattr(graph_cache, "code_digests", lambda *builders: {"zoo": "1", "fakes": "2"})
    keys.append(graph_key(run, registry))
    monkeypatch.undo()
    (tmp_path / "torch-99.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    keys.append(graph_key(run, registry))
    monkeypatch.undo()

    save_weights(run.path, SmallBackbone())
    keys.append(graph_key(run, registry))
    (run.path / PROTOTYPES).write_bytes(b"others")
    keys.append(graph_key(run, registry))
    assert len({key, *keys}) == 8


def test_a_run_that_cannot_be_loaded_has_no_key(run, registry):
    assert graph_key(run, make_registry(FakePlugin(), name="other")) is None
    run.weights_path.unlink()
    assert graph_key(run, registry) is None


def test_code_without_a_source_file_has_no_key(run):
    """A function that was defined in a notebook may change without a trace."""

    def build(request):
        raise AssertionError

    build.__module__ = "__main__"
    assert graph_key(run, make_registry(FakePlugin(backbones=[make_backbone_spec(build=build)]))) is None


def test_it_imports_no_torch():
    code = "import sys, zoo.inference.graph_cache; print({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
