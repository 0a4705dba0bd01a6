"""What a file tells, ours and others'."""

import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, helper

from zoo.errors import ExportError
from zoo_export.card import KEY
from zoo_export.inspection import Value, inspect


def foreign(path, **properties):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, None])],
    )
    model = helper.make_model(graph, producer_name="elsewhere", opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, properties)
    onnx.save(model, path)
    return path


def test_our_own(exported):
    inspected = inspect(exported.path)
    assert inspected.inputs == (Value("image", "uint8", ("batch", "height", "width", 3)),)
    assert [value.name for value in inspected.outputs] == ["probabilities", "logits", "heatmap"]
    assert inspected.outputs[0].shape == ("batch", 3)
    assert inspected.opset == 18
    assert inspected.producer.startswith("finetune-zoo ")
    assert inspected.bytes == exported.path.stat().st_size == exported.bytes
    assert inspected.to_dict()["card"]["classes"] == exported.card.classes


def test_somebody_elses(tmp_path):
    inspected = inspect(foreign(tmp_path / "m.onnx"))
    assert inspected.card is None
    assert inspected.inputs == (Value("x", "float", ("n", 3, "?")),)
    assert (inspected.opset, inspected.producer) == (17, "elsewhere")
    assert inspected.to_dict()["card"] is None


def test_a_broken_card_is_told(tmp_path):
    with pytest.raises(ExportError, match=r"m\.onnx: the description inside is not readable"):
        inspect(foreign(tmp_path / "m.onnx", **{KEY: "{"}))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100, b"PK\x03\x04"], ids=repr)
def test_what_is_no_onnx_file(tmp_path, content):
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    with pytest.raises(ExportError, match="is no ONNX file"):
        inspect(file)


def test_a_file_cut_off(exported, tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(exported.path.read_bytes()[:-100])
    with pytest.raises(ExportError, match="is no ONNX file, or was cut off"):
        inspect(file)
    with pytest.raises(ExportError, match="cannot be read"):
        inspect(tmp_path / "none.onnx")


def test_it_needs_no_torch(exported):
    program = (
        "import sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from zoo.cli import main\n"
        f"main(['inspect', {str(exported.path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "red, green, blue" in done.stdout
